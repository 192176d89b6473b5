import type { FastifyReply, FastifyRequest } from 'fastify';

import type { Logger } from '../logger.js';
import type { AnsweredOperation } from './operation-report.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** The GraphQL operation that was answered, if the request has a valid one. */
    operation: AnsweredOperation | undefined;
  }
}

/** Logs an answered request, at `debug`. It leaves out the query of the URL, and whatever else contains values. */
export function logRequest(log: Logger, request: FastifyRequest, reply: FastifyReply): void {
  if (!log.isLevelEnabled('debug')) return;
  const { operation } = request;
  log.debug(
    {
      requestId: request.id,
      method: request.method,
      route: request.routeOptions.url ?? 'unknown',
      status: reply.statusCode,
      durationMs: Math.round(reply.elapsedTime * 10) / 10,
      ...(operation && { operation: operation.name, responseCache: operation.isCached ? 'hit' : 'miss' }),
    },
    'Answered a request',
  );
}
