import cors from '@fastify/cors';
import type { FastifyInstance } from 'fastify';

import type { Authenticator } from '../auth/authentication.js';
import type { Config } from '../config.js';
import type { OperatorInvalidation } from '../invalidation/operator-invalidation.js';
import type { MomentCheck } from '../cache/response/moment-check.js';
import type { ResponseCache } from '../cache/response/response-cache.js';
import type { Resources } from '../resources.js';
import type { Logger } from '../logger.js';
import type { RateLimit } from '../rate-limit/rate-limit.js';
import { admitBodies, BODY_LIMIT_BYTES } from './body-admission.js';
import { identifyCallers } from './caller.js';
import type { Console } from './console-route.js';
import type { Admission } from '../overload/admission.js';
import type { Drain } from './drain.js';
import { answerFailures, GRAPHQL_ROUTE } from './failures.js';
import { createFastify } from './fastify-server.js';
import { refuseForeignPage } from './foreign-pages.js';
import { createGraphQLHandler, type InOneSnapshot } from './graphql-route.js';
import type { GraphQLServer } from '../graphql/graphql-server.js';
import { registerHealth, type Readiness } from './health.js';
import type { Metrics } from '../metrics/metrics.js';
import { operatorAccess } from './operator-access.js';
import { registerOperatorRoutes } from './operator-routes.js';
import { sendPlayground, wantsPlayground } from './playground-route.js';
import type { Playground } from './playground.js';
import { refuseOtherBodies } from './request-body.js';
import type { Tracing } from '../tracing/tracing.js';
import { refuseUnknownRequests } from './unknown-requests.js';

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
  /** Undefined: callers may send any number of requests. */
  readonly rateLimit?: RateLimit | undefined;
  readonly responseCache: ResponseCache | undefined;
  readonly momentCheck: MomentCheck;
  readonly inOneSnapshot: InOneSnapshot;
  readonly admission: Admission;
  readonly operatorInvalidation: OperatorInvalidation;
  /** Undefined: there is no console. */
  readonly console: Console | undefined;
  readonly metrics: Metrics;
  /** Undefined: nothing is traced. */
  readonly tracing?: Tracing | undefined;
  readonly playground: Playground | undefined;
  readonly readiness: () => Promise<Readiness>;
  readonly drain: Drain;
}

/** The HTTP side: routes, limits, headers. Apollo Server must have been started. */
export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { config, log, metrics, drain } = options;
  const app = createFastify(options);
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
  // After CORS, which answers preflights, and lets pages read the failure.
  refuseUnknownRequests(app);
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
    exposeHeadRoute: false,
    bodyLimit: BODY_LIMIT_BYTES,
    onRequest: identifyCallers(app, options.authenticate, options.rateLimit),
    preParsing: [refuseOtherBodies, admitBodies()],
    async handler(request, reply) {
      if (options.playground && wantsPlayground(request))
        return await sendPlayground(options.playground, request, reply);
      refuseForeignPage(request, config.corsOrigin);
      return await handler(request, reply);
    },
  });
  app.get('/', async (_request, reply) => await reply.redirect('/graphql'));
  registerHealth(app, options.readiness, drain);
  if (config.adminPort === undefined) registerOperatorRoutes(app, { ...options, access });
  answerFailures(app, log, metrics.graphql.errorAnswered);
  return app;
}
