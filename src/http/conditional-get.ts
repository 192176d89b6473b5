import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** The tags of cached responses, whose bodies are the same objects each time. */
const known = new WeakMap<Buffer, string>();

/** A strong entity tag of a body (RFC 9110, 8.8.3). */
function entityTagOf(body: string | Buffer): string {
  const tag =
    (typeof body === 'string' ? undefined : known.get(body)) ??
    `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;
  if (typeof body !== 'string') known.set(body, tag);
  return tag;
}

/**
 * Lets the client of a GET request keep the answer, and ask each time whether it is still the same: `no-store` would
 * have it send the whole answer again. Returns whether the client has it already, so that no body need be sent.
 * @param madeAt when the answer was made (ms since 1970)
 */
export function allowRevalidation(
  request: FastifyRequest,
  reply: FastifyReply,
  { body, madeAt }: { readonly body: string | Buffer; readonly madeAt: number },
): boolean {
  const entityTag = entityTagOf(body);
  const vary = [reply.getHeader('vary'), 'authorization, accept'].filter(Boolean).join(', ');
  reply.headers({
    etag: entityTag,
    age: Math.max(0, Math.floor((Date.now() - madeAt) / 1_000)),
    'cache-control': 'private, max-age=0, must-revalidate',
    vary,
  });
  return isNamed(entityTag, request.headers['if-none-match']);
}

/** Whether `If-None-Match` lists an entity tag, by the weak comparison (RFC 9110, 13.1.2). */
function isNamed(entityTag: string, header: string | undefined): boolean {
  if (header === undefined) return false;
  return (
    header.trim() === '*' || header.split(',').some((each) => each.trim().replace(/^W\//, '') === entityTag)
  );
}
