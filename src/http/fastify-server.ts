import { randomUUID } from 'node:crypto';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';

import type { Config } from '../config.js';
import { ErrorCode } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Metrics } from '../metrics/metrics.js';
import type { Tracing } from '../tracing/tracing.js';
import type { TrustedProxies } from '../trusted-proxies.js';
import { answerBadPath, answerClientError, answerExpectation, HttpFailure } from './failures.js';
import { readJsonText } from './request-body.js';
import { logRequest } from './request-log.js';
import { traceRequests } from './request-trace.js';
import { SECURITY_HEADERS } from './security-headers.js';

/** The maximum size of a body on routes that do not allow more, in bytes. */
const BODY_LIMIT_BYTES = 512 * 1024;
/** How often Node.js looks for requests that have not arrived in time (ms); its default is half a minute. */
const MAX_LOOK_EVERY_MS = 1_000;

/** Makes a server without routes, and what is the same for all its requests: their ids, headers, metrics and log. */
export function createFastify(options: {
  readonly config: Pick<Config['http'], 'keepAliveSeconds' | 'receiveTimeoutMs' | 'trustedProxies'>;
  readonly log: Logger;
  readonly metrics: Pick<Metrics, 'answered'>;
  readonly tracing?: Tracing | undefined;
  /** Whether closing the server also closes connections that are in use. */
  readonly closesAllConnections?: boolean;
}): FastifyInstance {
  const { config, log, metrics } = options;
  const { receiveTimeoutMs, trustedProxies } = config;
  const logger: FastifyBaseLogger = log;
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT_BYTES,
    requestTimeout: receiveTimeoutMs,
    http: {
      requestTimeout: receiveTimeoutMs,
      // Node.js refuses a headers timeout that is longer than the request timeout.
      headersTimeout: receiveTimeoutMs,
      connectionsCheckingInterval: Math.min(receiveTimeoutMs / 10, MAX_LOOK_EVERY_MS),
      // Node.js would answer without a body.
      requireHostHeader: false,
    },
    keepAliveTimeout: config.keepAliveSeconds * 1_000,
    return503OnClosing: false,
    ...(options.closesAllConnections === true ? { forceCloseConnections: true } : {}),
    ...(trustedProxies === undefined ? {} : { trustProxy: trusted(trustedProxies) }),
    routerOptions: { ignoreTrailingSlash: true },
    clientErrorHandler: answerClientError,
    frameworkErrors: answerBadPath,
    genReqId: requestIdOf,
    // Log entries name the request themselves. A logger for each request costs more than most cached responses.
    childLoggerFactory: (parent) => parent,
  });
  app.server.on('checkExpectation', answerExpectation);
  app.decorateRequest('operation', undefined);
  // Hooks of every request use callbacks: a promise for each is too slow for a cached response.
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    for (const [name, value] of SECURITY_HEADERS) reply.header(name, value);
    if (request.headers.host === undefined && request.raw.httpVersion === '1.1') done(NO_HOST());
    else done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unknown';
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1_000);
    logRequest(log, request, reply);
    done();
  });
  traceRequests(app, options.tracing);
  readJsonText(app);
  return app;
}

/** What Fastify calls trusted: a list, or a function that counts proxies from this server on. */
const trusted = (proxies: TrustedProxies): string[] | ((address: string, hop: number) => boolean) =>
  typeof proxies === 'number' ? (_address, hop) => hop < proxies : [...proxies];

const NO_HOST = () => new HttpFailure(400, ErrorCode.BAD_USER_INPUT, 'The header Host is missing');

/** The request id of a proxy, if its form is harmless; otherwise a new one. */
function requestIdOf(request: { headers: Record<string, string | string[] | undefined> }): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[\w.:-]{1,64}$/.test(given) ? given : randomUUID();
}
