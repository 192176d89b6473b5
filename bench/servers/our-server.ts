import { createAuthenticator } from '../../src/auth/authentication.js';
import type { Helping } from '../../src/cache/invalidation/helping.js';
import type { Invalidator } from '../../src/cache/invalidation/invalidator.js';
import type { CachedResource, Resource } from '../../src/cache/core/resource.js';
import type { Tag } from '../../src/cache/core/tags.js';
import { connectDatabase } from '../../src/db/client.js';
import { AuditLogRepository, auditPages } from '../../src/audit/audit-log.repository.js';
import { uncached } from '../../src/cache/reader/uncached.js';
import { createResolvers } from '../../src/resolvers.js';
import { createRepositories, createResources } from '../../src/resources.js';
import { buildGraphQLSchema } from '../../src/schema.js';
import { createLogger } from '../../src/logger.js';
import { Admission } from '../../src/overload/admission.js';
import { Drain } from '../../src/http/drain.js';
import { createGraphQLServer } from '../../src/graphql/graphql-server.js';
import { QueryPlans } from '../../src/graphql/plan/query-plans.js';
import type { MomentCheck } from '../../src/cache/response/moment-check.js';
import { overloaded } from '../../src/http/failures.js';
import { createHttpServer } from '../../src/http/http-server.js';
import { createMetrics } from '../../src/metrics/metrics.js';
import type { Tally } from './report.js';
import { serverConfig } from './settings.js';

/** Another cache behind the interface of ours. */
export interface Caching {
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value>;
  invalidate(tags: readonly Tag[]): Promise<void>;
}

/** For caches that need no help: what they hold is compared as it is. */
const NOTHING_TO_HELP = {
  since: '',
  helped: { snapshot: '', xmax: -1, batches: 0 },
  helpShown: async () => {},
  confirm: async () => {},
} as unknown as Helping;

/** Starts our server, schema, resolvers, loaders and SQL, with another cache. Returns its URL. */
export async function serveWith(caching: Caching, tally: Tally): Promise<string> {
  const config = serverConfig();
  const log = createLogger(config.logLevel);
  const { db } = connectDatabase({ ...config.database, onStatement: tally.onStatement });
  const repositories = createRepositories(db);
  const resources = createResources(caching.resource.bind(caching), repositories, config.cache.ttlSeconds);
  const invalidator: Pick<Invalidator, 'invalidate'> = caching;
  const schema = await buildGraphQLSchema(
    createResolvers({
      repositories,
      resources,
      invalidator: invalidator as Invalidator,
      helping: NOTHING_TO_HELP,
      auditPages: uncached(auditPages(new AuditLogRepository(db)), NOTHING_TO_HELP),
    }),
  );
  const graphql = createGraphQLServer({ schema, introspection: false, log, plans: new QueryPlans(schema) });
  await graphql.apollo.start();
  const http = await createHttpServer({
    production: true,
    config: config.http,
    log,
    slowOperationMs: 0,
    graphql,
    resources,
    responseCache: undefined,
    momentCheck: { since: NOTHING_TO_HELP.helped, holds: async () => true } as unknown as MomentCheck,
    operatorInvalidation: undefined as never,
    console: undefined,
    inOneSnapshot: async (work) => await work(resources),
    admission: new Admission(config.http.maxInFlight, overloaded),
    authenticate: createAuthenticator(config.auth, log),
    metrics: createMetrics(),
    playground: undefined,
    drain: new Drain(),
    readiness: async () => ({
      ready: true,
      database: 'up',
      migrated: true,
      cache: 'up',
      invalidationLogAgeMs: null,
    }),
  });
  return `${await http.listen({ port: config.http.port, host: config.http.host })}/graphql`;
}
