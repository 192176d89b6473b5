import { Transform, type TransformCallback } from 'node:stream';
import type { preParsingHookHandler } from 'fastify';

import { ErrorCode } from '../errors.js';
import { HttpFailure } from './failures.js';
import { LargeBodies } from './large-bodies.js';

/** Room for 500 messages of 8,000 characters in UTF-8, or with six bytes for each (`\u3042`). */
export const BODY_LIMIT_BYTES = 25 * 1024 * 1024;
/** The maximum size of a body without a valid token. */
const MAX_ANONYMOUS_BYTES = 100_000;
/** The maximum size of a body whose size its client does not tell. */
const MAX_UNSIZED_BYTES = 1024 * 1024;
/** A larger body is read only while few others are. */
const MAX_SMALL_BYTES = 1024 * 1024;
/** How many large bodies are in memory at once. Each takes up to 100 MB until it is answered. */
const MAX_LARGE_BODIES = { total: 4, perCaller: 2 };

/**
 * Decides by the caller and the size of a body whether it is read, and when: reading and parsing it costs memory, and
 * holds up all other requests. The caller must have been identified.
 */
export function admitBodies(): preParsingHookHandler {
  const large = new LargeBodies(MAX_LARGE_BODIES);
  return (request, reply, payload, done) => {
    const { method, identity, headers } = request;
    if (method !== 'POST') return done(null, payload);
    if (!identity) return done(new Error('The caller was not identified'));
    const isAnonymous = 'problem' in identity;
    if (headers['transfer-encoding'] !== undefined) {
      const limited = isAnonymous
        ? new LimitedBytes(MAX_ANONYMOUS_BYTES, () => tooLargeWithoutToken(identity.problem))
        : new LimitedBytes(MAX_UNSIZED_BYTES, tooLargeWithoutSize);
      payload.on('error', (error) => limited.destroy(error));
      return done(null, payload.pipe(limited));
    }
    const bytes = Number(headers['content-length'] ?? 0);
    if (isAnonymous && bytes > MAX_ANONYMOUS_BYTES) {
      return done(tooLargeWithoutToken(identity.problem));
    }
    // The limit of the route refuses a body that is too large.
    if (isAnonymous || bytes <= MAX_SMALL_BYTES || bytes > BODY_LIMIT_BYTES) return done(null, payload);
    const leave = large.enter(identity.userId, () => done(null, payload));
    reply.raw.once('close', leave);
  };
}

/** Passes on bytes up to a limit. */
class LimitedBytes extends Transform {
  private bytes = 0;

  constructor(
    private readonly max: number,
    private readonly failure: () => HttpFailure,
  ) {
    super();
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    if (this.bytes > this.max) done(this.failure());
    else done(null, chunk);
  }
}

const tooLargeWithoutToken = (problem: string) =>
  new HttpFailure(
    401,
    ErrorCode.UNAUTHENTICATED,
    `Not authenticated: ${problem}; without a valid token, a body may have ${MAX_ANONYMOUS_BYTES} bytes`,
  );
const tooLargeWithoutSize = () =>
  new HttpFailure(
    413,
    ErrorCode.BAD_USER_INPUT,
    `A body of more than ${MAX_UNSIZED_BYTES} bytes needs the header Content-Length`,
  );
