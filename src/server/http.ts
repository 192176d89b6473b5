import { randomUUID } from 'node:crypto';
import cors from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import Fastify, {
  LogController,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
} from 'fastify';

import type { IdentityReader } from '../access/identity.js';
import type { Config } from '../config.js';
import type { AnswerCache } from '../cache/answer-cache.js';
import type { Resources } from '../context.js';
import { ErrorCode } from '../errors.js';
import type { Logger } from '../logger.js';
import { createGraphQLHandler } from './graphql-route.js';
import type { GraphQLServer } from './graphql-server.js';
import { registerHealth, type Readiness } from './health.js';
import type { Metrics } from './metrics.js';
import type { Playground } from './playground.js';

/** Room for 500 messages of 8,000 characters each. */
const BODY_LIMIT_BYTES = 10 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 30_000;

export interface HttpOptions {
  readonly config: Config['http'];
  readonly log: Logger;
  readonly graphql: GraphQLServer;
  readonly resources: Resources;
  readonly identify: IdentityReader;
  readonly answers: AnswerCache | undefined;
  readonly metrics: Metrics;
  readonly playground: (() => Promise<Playground>) | undefined;
  readonly readiness: () => Promise<Readiness>;
}

/** The HTTP side: routes, limits, headers. Apollo Server must have been started. */
export async function createHttpServer(options: HttpOptions): Promise<FastifyInstance> {
  const { config, log, metrics } = options;
  const logger: FastifyBaseLogger = log;
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    return503OnClosing: false,
    genReqId: requestIdOf,
    // What is logged names its request itself; a logger for each request costs more than most answers that are kept.
    childLoggerFactory: (parent) => parent,
  });

  // Hooks of every request call back: a promise each is time that a kept answer does not have.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1_000);
    done();
  });
  // A connection whose last request was under way when the server began to close would be kept open for the next one.
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing) reply.header('connection', 'close');
    done(null, payload);
  });
  if (config.corsOrigin !== undefined) {
    await app.register(cors, {
      origin: config.corsOrigin === '*' ? '*' : [...config.corsOrigin],
      methods: ['GET', 'POST', 'OPTIONS'],
      exposedHeaders: ['x-request-id'],
      maxAge: 86_400,
    });
  }
  if (config.rateLimitPerSecond > 0) {
    await app.register(rateLimit, {
      max: config.rateLimitPerSecond,
      timeWindow: 1_000,
      keyGenerator: (request) => request.headers.authorization ?? request.ip,
      allowList: (request) => !request.url.startsWith('/graphql'),
      errorResponseBuilder: (_request, { ttl }) =>
        graphqlFailure(429, ErrorCode.RATE_LIMITED, `Too many requests; try again in ${Math.ceil(ttl)} ms`),
    });
  }

  // GraphQL is asked in JSON only: a body of another type, which any web page can send, is refused.
  app.removeContentTypeParser('text/plain');
  // The text itself is what a kept answer is found by; it is parsed only if there is none.
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  );
  const handler = createGraphQLHandler({ ...options, maxAnswerBytes: config.maxAnswerBytes });
  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
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
  registerHealth(app, options.readiness);
  app.get('/metrics', async (_request, reply) => {
    reply.type(metrics.registry.contentType);
    return await metrics.registry.metrics();
  });

  app.setErrorHandler((error: Error & { statusCode?: number; graphql?: object }, request, reply) => {
    if (error.graphql) return reply.code(error.statusCode ?? 500).send(error.graphql);
    const status = error.statusCode ?? 500;
    if (status < 500) {
      return reply.code(status).send(graphqlFailure(status, ErrorCode.BAD_USER_INPUT, error.message).graphql);
    }
    log.error({ err: error, requestId: request.id }, 'Unexpected error, masked to the client');
    const failure = graphqlFailure(500, ErrorCode.INTERNAL_SERVER_ERROR, 'Internal server error', request.id);
    return reply.code(500).send(failure.graphql);
  });
  return app;
}

/** An HTTP failure in the shape of a GraphQL answer, so that clients find the code where they look for it. */
function graphqlFailure(statusCode: number, code: ErrorCode, message: string, requestId?: string) {
  const extensions = { code, ...(requestId === undefined ? {} : { requestId }) };
  return Object.assign(new Error(message), { statusCode, graphql: { errors: [{ message, extensions }] } });
}

/** A proxy's request id, if it has one of a harmless form; else a new one. */
function requestIdOf(request: { headers: Record<string, string | string[] | undefined> }): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
}

/** Whether a browser opens the page, which keeps its query in the URL: a browser could not send a token with it. */
function wantsPlayground(request: FastifyRequest): boolean {
  return request.method === 'GET' && String(request.headers.accept).includes('text/html');
}
