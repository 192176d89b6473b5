import type { FastifyInstance } from 'fastify';

import type { RequestSpan, Tracing } from '../tracing/tracing.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The span of the request, if it is traced. */
    span: RequestSpan | undefined;
    /** The codes of the errors in a GraphQL answer. */
    errorCodes: readonly string[] | undefined;
  }
}

/** Routes that are asked again and again by machines. */
const UNTRACED: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics']);

/** Traces the requests of a server, except those for its health and its metrics. */
export function traceRequests(app: FastifyInstance, tracing: Tracing | undefined): void {
  app.decorateRequest('span', undefined);
  app.decorateRequest('errorCodes', undefined);
  if (!tracing) return;
  app.addHook('onRequest', (request, _reply, done) => {
    const { id, method, url, headers, routeOptions } = request;
    const route = routeOptions.url;
    if (route === undefined || !UNTRACED.has(route)) {
      const query = url.indexOf('?');
      const path = query < 0 ? url : url.slice(0, query);
      request.span = tracing.begin({ id, method, path, route, headers });
    }
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { span, operation, errorCodes = [] } = request;
    span?.answered({ status: reply.statusCode, operation, errorCodes });
    done();
  });
}
