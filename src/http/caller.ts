import type { FastifyInstance, FastifyRequest, onRequestHookHandler } from 'fastify';

import type { Authenticator } from '../auth/authentication.js';
import type { Identity } from '../auth/authorization.js';
import { within } from '../cache/core/work.js';
import { ErrorCode } from '../errors.js';
import type { RateLimit } from '../rate-limit/rate-limit.js';
import { HttpFailure } from './failures.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends the request; undefined on routes that do not ask. */
    identity: Identity | undefined;
  }
}

/**
 * Adds `request.identity`, and returns the hook that sets it, and refuses callers who send too many requests. It runs
 * before a body is read, waits only for a token that was not verified before, and verifies no unknown token from an
 * address that sent too many that are not valid.
 */
export function identifyCallers(
  app: FastifyInstance,
  authenticate: Authenticator,
  limit: RateLimit | undefined,
): onRequestHookHandler {
  app.decorateRequest('identity', undefined);
  const admit = (request: FastifyRequest, identity: Identity, done: (problem?: Error) => void) => {
    request.identity = identity;
    const waitMs = limit ? waitOf(limit, request, identity) : 0;
    if (limit && waitMs > 0) done(tooManyRequests(limit.perSecond, waitMs));
    else done();
  };
  const find = ({ span, headers }: FastifyRequest) =>
    within(span && { span }, () => authenticate(headers.authorization));
  const remembered = ({ span, headers: { authorization } }: FastifyRequest) =>
    authorization === undefined
      ? undefined
      : within(span && { span }, () => authenticate.remembered(authorization));
  /** How long the sender of a token that was never valid must wait until it is verified (ms). */
  const waitToVerify = ({ ip, headers: { authorization } }: FastifyRequest): number =>
    limit && authorization !== undefined && !authenticate.wasValid(authorization)
      ? limit.waitToVerify(ip)
      : 0;

  return (request, _reply, done) => {
    let found = remembered(request);
    if (!found) {
      const waitMs = waitToVerify(request);
      if (limit && waitMs > 0) return done(tooManyRequests(limit.perSecond, waitMs));
      found = find(request);
    }
    if (found instanceof Promise) found.then((identity) => admit(request, identity, done), done);
    else admit(request, found, done);
  };
}

/** Counts a request. Behind proxies the address is looked up in a header, so it is only where it matters. */
const waitOf = (limit: RateLimit, request: FastifyRequest, identity: Identity): number =>
  'userId' in identity
    ? limit.takeFromUser(identity.userId)
    : limit.takeFromAddress(request.ip, request.headers.authorization !== undefined);

function tooManyRequests(perSecond: number, waitMs: number): HttpFailure {
  const seconds = String(Math.ceil(waitMs / 1_000));
  return new HttpFailure(
    429,
    ErrorCode.RATE_LIMITED,
    `Too many requests; try again in ${Math.ceil(waitMs)} ms`,
    {
      'retry-after': seconds,
      'x-ratelimit-limit': String(perSecond),
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': seconds,
    },
  );
}
