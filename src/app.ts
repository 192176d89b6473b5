import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';

import { AuditLogRepository, auditPages } from './audit/audit-log.repository.js';
import { createAuthenticator } from './auth/authentication.js';
import { SubjectRepository } from './auth/subject.repository.js';
import { subjectResources } from './auth/subject.cache.js';
import { createCache } from './cache/create-cache.js';
import { Shadow } from './cache/inspection/shadow.js';
import { bindAll } from './cache/core/resource.js';
import type { Config } from './config.js';
import { ConsoleStates } from './console/console-state.js';
import { KnownProcesses } from './console/known-processes.js';
import { ServerProcessRepository } from './console/server-process.repository.js';
import { connectDatabase, type StatementListener } from './db/client.js';
import { cacheConnection } from './db/cache-connection.js';
import { codeOf } from './db/failures.js';
import { findEndpointKind } from './db/pooler-detection.js';
import { DatabaseProbe } from './db/readiness.js';
import { slowStatementLog } from './db/slow-statement-log.js';
import { unavailable } from './errors.js';
import { InvalidationLogRepository } from './invalidation/invalidation-log.repository.js';
import { OperatorInvalidation } from './invalidation/operator-invalidation.js';
import { tagsOfBot, tagsOfOrganization } from './invalidation/tags.js';
import { KeptOutcomeRepository } from './mutations/kept-outcome.repository.js';
import { Pruning } from './mutations/pruning.js';
import { createResolvers } from './resolvers.js';
import { createRepositories, createResources, repositoriesOn, type Bind } from './resources.js';
import { buildGraphQLSchema } from './schema.js';
import { firstPages } from './first-pages.js';
import type { Logger } from './logger.js';
import { Admission } from './overload/admission.js';
import { Drain } from './http/drain.js';
import { createGraphQLServer } from './graphql/graphql-server.js';
import { QueryPlans } from './graphql/plan/query-plans.js';
import type { InOneSnapshot } from './http/graphql-route.js';
import type { Readiness } from './http/health.js';
import { overloaded } from './http/failures.js';
import { createAdminServer } from './http/admin-server.js';
import { createHttpServer, type HttpOptions } from './http/http-server.js';
import { RateLimit } from './rate-limit/rate-limit.js';
import { shareRates } from './rate-limit/shared-rates.js';
import { watchCache } from './metrics/cache-gauges.js';
import { MetricValues } from './metrics/metric-values.js';
import { createMetrics } from './metrics/metrics.js';
import { timedReads } from './metrics/timed-reads.js';
import { startTracing } from './tracing/tracing.js';
import { createPlayground, type PlaygroundOptions } from './http/playground.js';

/** How long the start waits for Redis before it serves without it. */
const REDIS_START_MS = 1_000;
/** How long the start loads what was read most before; a batch that has begun is finished. */
const MAX_WARM_UP_MS = 2_000;

/**
 * Connections that the system keeps until the process accepts them. Clients of others wait for seconds before they try
 * again; Node's default is 511.
 */
const BACKLOG = 4_096;

const MAX_INVALIDATIONS_SHOWN = 20;
const NOTHING_CACHED = { tags: [], values: [] };

export interface AppOptions {
  readonly log: Logger;
  readonly playground?: PlaygroundOptions;
  readonly onStatement?: StatementListener;
}

export interface App {
  /** Starts to serve. Returns the URL of the GraphQL endpoint. */
  listen(): Promise<string>;
  readiness(): Promise<Readiness>;
  /** From now on `/readyz` says that the server is not ready, and every response closes its connection. */
  drain(): void;
  /** Answers the requests under way, then disconnects from everything. */
  close(): Promise<void>;
}

const PLAYGROUND: PlaygroundOptions = {
  defaultQuery: 'query Me {\n  me {\n    name\n  }\n}\n',
  headers: undefined,
};

/** The composition root: makes every part and wires it to the others. The database must have been migrated. */
export async function createApp(config: Config, options: AppOptions): Promise<App> {
  const { log } = options;
  const tracing = await startTracing(config.tracing, log);
  const metrics = createMetrics();
  const logSlowStatement = slowStatementLog(log, config.slow.sqlMs);
  // The database may be away now. Until its kind is known, it is used as a pooler is.
  await findEndpointKind(config.database.url).catch(() => undefined);
  const {
    db,
    inOneSnapshot,
    poolState,
    close: closeDatabase,
  } = connectDatabase({
    ...config.database,
    toError: ({ message, isOutcomeUnknown, cause }) => {
      log.warn({ err: cause, code: codeOf(cause) }, message);
      // Services see from the cause whether anything may have been written.
      return Object.assign(unavailable(message, isOutcomeUnknown ? { outcome: 'unknown' } : {}), { cause });
    },
    onStatement: (statement) => {
      metrics.database.statementSent();
      options.onStatement?.(statement);
    },
    onStatementEnd: (statement, seconds) => {
      metrics.database.statementEnded(seconds);
      logSlowStatement(statement, seconds);
    },
    onConnection: metrics.database.connectionAcquired,
  });
  metrics.database.watchPool(poolState);
  const { shadowPercent } = config.cache;
  let shadow: Shadow | undefined;
  const cache = createCache({
    redis: config.redis.target,
    redisTimeoutMs: config.redis.timeoutMs,
    prefix: config.cache.prefix,
    responseCacheBytes: config.cache.responseCacheBytes,
    refreshAhead: config.cache.refreshAhead,
    postgres: cacheConnection(config.database.url),
    ...(shadowPercent > 0 ? { onHit: (key) => shadow?.offer(key) } : {}),
    observer: metrics.observer,
    log,
  });
  watchCache(metrics, cache);

  const repositories = createRepositories(db);
  const bind: Bind = (resource) => timedReads(cache.resource(resource), metrics.resourceRead);
  const { ttlSeconds } = config.cache;
  const resources = createResources(bind, repositories, ttlSeconds);
  const { subject } = bindAll(bind, subjectResources(new SubjectRepository(db), ttlSeconds));
  const inSnapshotResources: InOneSnapshot = async (work) =>
    await inOneSnapshot(
      async (transaction) =>
        await work(createResources(cache.uncached, repositoriesOn(transaction, repositories), ttlSeconds)),
    );
  if (shadowPercent > 0 && cache.operator) {
    const { values } = cache.operator;
    const { invalidationLog: freshness } = cache;
    const share = shadowPercent / 100;
    const onResult = metrics.shadow;
    shadow = new Shadow({ share, values, freshness, inOneSnapshot: inSnapshotResources, log, onResult });
  }
  // Before the schema is built: building blocks the process, so a connection being opened would count as an outage.
  await cache.start(REDIS_START_MS);
  const { invalidator, helping } = cache;
  const auditLog = new AuditLogRepository(db);
  const resolvers = createResolvers({
    repositories,
    resources,
    invalidator,
    helping,
    auditPages: cache.uncached(auditPages(auditLog)),
  });
  const schema = await buildGraphQLSchema(resolvers);
  const graphql = createGraphQLServer({
    schema,
    introspection: config.http.introspection,
    log,
    plans: new QueryPlans(schema, metrics.graphql.executed),
  });
  await graphql.apollo.start();

  const probe = new DatabaseProbe(config.database.url);
  const readiness = async (): Promise<Readiness> => {
    const { reachable, migrated } = await probe.state();
    const { ageMs } = cache.invalidationLog;
    return {
      ready: migrated,
      database: reachable ? 'up' : 'down',
      migrated,
      cache: cache.state(),
      reason: cache.refusal(),
      invalidationLogAgeMs: Number.isFinite(ageMs) ? Math.round(ageMs) : null,
    };
  };
  const invalidationLogRepository = new InvalidationLogRepository(db);
  const serverProcesses = new ServerProcessRepository(db);
  const states = new ConsoleStates({
    metrics: new MetricValues(metrics.registry),
    health: readiness,
    maxResponseCacheBytes: cache.responseCache ? config.cache.responseCacheBytes : 0,
    processes: new KnownProcesses(async () => await serverProcesses.findMany()),
  });
  const keptOutcomes = new KeptOutcomeRepository(db);
  const pruning = new Pruning(
    [
      async (most) => await keptOutcomes.prune(most),
      async (most) => await auditLog.prune(config.auditDays, most),
    ],
    log,
  );
  const drain = new Drain();
  const admission = new Admission(config.http.maxInFlight, (reason) => {
    metrics.overload.refused(reason);
    return overloaded();
  });
  metrics.overload.watch(() => admission.state);
  const rateLimit =
    config.http.rateLimitPerSecond > 0 ? new RateLimit(config.http.rateLimitPerSecond) : undefined;
  const sharedRates =
    rateLimit && shareRates(rateLimit, { ...config.redis, prefix: config.cache.prefix, log });
  const httpOptions: HttpOptions = {
    production: config.production,
    config: config.http,
    log,
    slowOperationMs: config.slow.operationMs,
    graphql,
    resources,
    responseCache: cache.responseCache,
    momentCheck: cache.momentCheck,
    inOneSnapshot: inSnapshotResources,
    admission,
    operatorInvalidation: new OperatorInvalidation({
      log: invalidationLogRepository,
      bots: repositories.bots,
      freshness: cache.invalidationLog,
      invalidator,
      helping,
    }),
    authenticate: createAuthenticator(config.auth, log, subject),
    rateLimit,
    console: {
      state: async () => await states.read(),
      async inspect(kind, id) {
        const tags = kind === 'bot' ? tagsOfBot(id) : tagsOfOrganization(id);
        const [cached = NOTHING_CACHED, invalidations] = await Promise.all([
          cache.operator?.inspection.inspect(tags),
          invalidationLogRepository.findLatest(tags, MAX_INVALIDATIONS_SHOWN),
        ]);
        return { ...cached, invalidations };
      },
    },
    metrics,
    tracing,
    playground: config.http.playground ? createPlayground(options.playground ?? PLAYGROUND) : undefined,
    readiness,
    drain,
  };
  const http = await createHttpServer(httpOptions);
  const { adminPort, host } = config.http;
  const admin = adminPort === undefined ? undefined : createAdminServer(httpOptions);

  const warmUp = async (): Promise<void> => {
    const otherwise = async () => await firstPages(repositories, resources);
    const { known, loaded } = await cache.warm({ maxMs: MAX_WARM_UP_MS, otherwise });
    metrics.warmed(loaded);
    if (loaded > 0) log.info({ known, loaded }, 'Loaded what was read most before');
  };
  return {
    readiness,
    drain: () => drain.begin(),
    async listen() {
      if (config.cache.warmOnStart) await warmUp();
      if (admin && adminPort !== undefined) {
        await admin.listen({ port: adminPort, host });
        log.info({ url: originOf(admin) }, 'Serving operators');
      }
      await http.listen({ port: config.http.port, host, backlog: BACKLOG });
      sharedRates?.start();
      pruning.start();
      return `${originOf(http)}/graphql`;
    },
    async close() {
      await http.close();
      await admin?.close();
      sharedRates?.close();
      await graphql.apollo.stop();
      await shadow?.stop();
      await pruning.stop();
      await cache.close();
      await Promise.all([closeDatabase(), probe.close()]);
      await tracing?.close();
    },
  };
}

function originOf({ server }: FastifyInstance): string {
  const { address, port, family } = server.address() as AddressInfo;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
