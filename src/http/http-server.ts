import { randomUUID } from 'node:crypto';
import cors from '@fastify/cors';
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
} from 'fastify';

import type { Authenticator } from '../auth/authentication.js';
import type { Config } from '../config.js';
import type { OperatorInvalidation } from '../invalidation/operator-invalidation.js';
import type { MomentCheck } from '../cache/response/moment-check.js';
import type { ResponseCache } from '../cache/response/response-cache.js';
import type { Resources } from '../resources.js';
import type { Logger } from '../logger.js';
import { registerCacheAdmin } from './cache-admin-route.js';
import { registerConsole, type Console } from './console-route.js';
import type { Admission } from '../overload/admission.js';
import type { Drain } from './drain.js';
import { answerBadPath, answerClientError, answerFailures, GRAPHQL_ROUTE } from './failures.js';
import { createGraphQLHandler, type InOneSnapshot } from './graphql-route.js';
import type { GraphQLServer } from '../graphql/graphql-server.js';
import { registerHealth, type Readiness } from './health.js';
import type { Metrics } from '../metrics/metrics.js';
import { operatorAccess } from './operator-access.js';
import type { Playground } from './playground.js';
import { limitRates } from './rate-limit.js';
import { readJsonText, refuseOtherBodies } from './request-body.js';
import { logRequest } from './request-log.js';
import { traceRequests } from './request-trace.js';
import type { Tracing } from '../tracing/tracing.js';

/** Room for 500 messages of 8,000 characters each. */
const BODY_LIMIT_BYTES = 10 * 1024 * 1024;
/** A request must arrive within this time (ms); an idle connection is not a request. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Headers that browsers hide from a page unless they are listed. */
const EXPOSED_HEADERS = [
  'x-request-id',
  'retry-after',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
];

export interface HttpOptions {
  readonly config: Config['http'];
  readonly production: boolean;
  readonly log: Logger;
  /** Operations that take at least this long (ms) are logged; 0: none is. */
  readonly slowOperationMs: number;
  readonly graphql: GraphQLServer;
  readonly resources: Resources;
  readonly authenticate: Authenticator;
  readonly responseCache: ResponseCache | undefined;
  readonly momentCheck: MomentCheck;
  readonly inOneSnapshot: InOneSnapshot;
  readonly admission: Admission;
  readonly operatorInvalidation: OperatorInvalidation;
  /** Undefined: there is no console. */
  readonly console: Console | undefined;
  readonly metrics: Metrics;
  /** Undefined: requests are not traced. */
  /** Undefined: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  readonly playground: (() => Promise<Playground>) | undefined;
  readonly readiness: () => Promise<Readiness>;
  readonly drain: Drain;
}

/** The HTTP side: routes, limits, headers. Apollo Server must have been started. */
export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { config, log, metrics, drain } = options;
  const logger: FastifyBaseLogger = log;
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // Node.js refuses a headers timeout that is longer than the request timeout.
    http: { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    keepAliveTimeout: config.keepAliveSeconds * 1_000,
    return503OnClosing: false,
    routerOptions: { ignoreTrailingSlash: true },
    clientErrorHandler: answerClientError,
    frameworkErrors: answerBadPath,
    genReqId: requestIdOf,
    // Log entries name the request themselves. A logger for each request costs more than most cached responses.
    childLoggerFactory: (parent) => parent,
  });

  app.decorateRequest('operation', undefined);
  // Hooks of every request use callbacks: a promise for each is too slow for a cached response.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1_000);
    logRequest(log, request, reply);
    done();
  });
  traceRequests(app, options.tracing);
  drain.watch(app.server);
  app.addHook('preClose', async () => await drain.finish());
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (drain.isDraining) reply.header('connection', 'close');
    done(null, payload);
  });
  if (config.corsOrigin !== undefined) {
    await app.register(cors, {
      origin: config.corsOrigin === '*' ? '*' : [...config.corsOrigin],
      methods: ['GET', 'POST', 'OPTIONS'],
      exposedHeaders: EXPOSED_HEADERS,
      maxAge: 86_400,
      // OPTIONS without preflight headers asks for the allowed methods, and is valid.
      strictPreflight: false,
    });
  }
  const isLimited = config.rateLimitPerSecond > 0;
  if (isLimited) await limitRates(app, { ...options, maxPerSecond: config.rateLimitPerSecond });
  readJsonText(app);
  const access = operatorAccess({ token: config.operatorToken, production: options.production });
  const handler = createGraphQLHandler({
    ...options,
    observer: metrics.observer,
    maxAnswerBytes: config.maxAnswerBytes,
    wantsReport: access.wantsReport,
  });
  app.route({
    method: ['GET', 'POST'],
    url: GRAPHQL_ROUTE,
    preParsing: refuseOtherBodies,
    ...(isLimited ? { config: { rateLimit: {} } } : {}),
    async handler(request, reply) {
      if (options.playground && wantsPlayground(request)) {
        const { html, gzipped } = await options.playground();
        reply.type('text/html; charset=utf-8');
        if (!/\bgzip\b/.test(String(request.headers['accept-encoding']))) return html;
        return await reply.header('content-encoding', 'gzip').send(gzipped);
      }
      return await handler(request, reply);
    },
  });
  app.get('/', async (_request, reply) => await reply.redirect('/graphql'));
  registerHealth(app, options.readiness, drain);
  registerCacheAdmin(app, {
    operatorsOnly: access.operatorsOnly,
    invalidation: options.operatorInvalidation,
    log,
  });
  if (options.console) registerConsole(app, { access, console: options.console });
  app.get('/metrics', async (_request, reply) => {
    reply.type(metrics.registry.contentType);
    return await metrics.registry.metrics();
  });

  answerFailures(app, log, metrics.graphql.errorAnswered);
  return app;
}

/** The request id of a proxy, if its form is harmless; otherwise a new one. */
function requestIdOf(request: { headers: Record<string, string | string[] | undefined> }): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
}

/**
 * Whether a browser opens the page. The page keeps its query in the URL, and a browser could not send a token with
 * it.
 */
function wantsPlayground(request: FastifyRequest): boolean {
  return request.method === 'GET' && String(request.headers.accept).includes('text/html');
}
