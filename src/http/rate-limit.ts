import rateLimit from '@fastify/rate-limit';
import type { FastifyInstance, FastifyRequest } from 'fastify';

import type { Authenticator } from '../auth/authentication.js';
import { ErrorCode } from '../errors.js';
import { HttpFailure } from './failures.js';

/**
 * Limits the requests of each caller to the routes that are registered later with `config.rateLimit`. A caller is the
 * user of a valid token, or else an address: any other header would let a client become a new caller at will.
 */
export async function limitRates(
  app: FastifyInstance,
  options: { readonly maxPerSecond: number; readonly authenticate: Authenticator },
): Promise<void> {
  await app.register(rateLimit, {
    global: false,
    max: options.maxPerSecond,
    timeWindow: 1_000,
    keyGenerator: async (request) => await callerOf(request, options.authenticate),
    errorResponseBuilder: (_request, { ttl }) =>
      new HttpFailure(429, ErrorCode.RATE_LIMITED, `Too many requests; try again in ${Math.ceil(ttl)} ms`),
  });
}

async function callerOf(request: FastifyRequest, authenticate: Authenticator): Promise<string> {
  const identity = await authenticate(request.headers.authorization);
  return 'userId' in identity ? `user ${identity.userId}` : `address ${request.ip}`;
}
