import { hash } from 'node:crypto';
import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';

import type { CachedResource } from '../cache/core/resource.js';
import type { Config } from '../config.js';
import type { Identity } from './authorization.js';
import { isUuid } from '../uuid.js';

/**
 * Turns the `Authorization` header of a request into an identity; at once where the token was checked before and names the
 * user by their id.
 * @throws Error if the keys to check it with, or the user whom it names, cannot be had
 */
export type Authenticator = (authorization: string | undefined) => Identity | Promise<Identity>;

/** Finds users by what the identity provider calls them. */
export type Subjects = Pick<CachedResource<string, string>, 'readMany'>;

/** A verified token is trusted for this long (ms), or until it expires; a key that is withdrawn stops counting then. */
const VERIFIED_TOKEN_MS = 60_000;
const MAX_TOKENS = 10_000;
/** Longer headers are remembered by their digest, which costs some microseconds a request. */
const MAX_KEY_CHARACTERS = 1_000;
/** As long as a subject may be in the database. */
const MAX_SUBJECT_CHARACTERS = 255;

/** What jose says of keys that it could not fetch, or not read; everything else is about the token. */
const KEYS_NOT_HAD: ReadonlySet<string> = new Set([
  'ERR_JWKS_TIMEOUT',
  'ERR_JOSE_GENERIC',
  'ERR_JWKS_INVALID',
]);

/** Whom a token names: a user by their id, or by what the identity provider calls them. */
type Named = { readonly userId: string } | { readonly subject: string };

/**
 * Checks bearer tokens: HS256 with the shared secret, or the asymmetric algorithms of a JWKS, with issuer and audience
 * where they are configured. The claim JWT_USER_CLAIM (`sub`) names the user: a uuid is the user's id, anything else is
 * looked for in `users.subject`, through the cache, on every request.
 */
export function createAuthenticator(auth: Config['auth'], subjects?: Subjects): Authenticator {
  const options = {
    ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
    ...(auth.audience === undefined ? {} : { audience: auth.audience }),
    clockTolerance: 5,
  };
  const verify = verifier(auth, options);
  /** By the header, or by its digest: a client can make it 16 kB long. */
  const verifiedTokens = new LRUCache<string, { named: Named; until: number }>({ max: MAX_TOKENS });

  const check = async (authorization: string, key: string): Promise<Identity> => {
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization.trim()) ?? [];
    if (token === undefined) return { problem: 'the Authorization header must be "Bearer <token>"' };
    try {
      const payload = await verify(token);
      const named = whomItNames(payload, auth.userClaim);
      if (named === undefined) return { problem: `the token names no user in its claim ${auth.userClaim}` };
      const until = Math.min(Date.now() + VERIFIED_TOKEN_MS, (payload.exp ?? Infinity) * 1_000);
      verifiedTokens.set(key, { named, until });
      return await identityOf(named);
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { problem: 'the token has expired' };
      if (!(error instanceof errors.JOSEError) || KEYS_NOT_HAD.has(error.code)) throw error;
      return { problem: 'the token is not valid' };
    }
  };

  const identityOf = (named: Named): Identity | Promise<Identity> =>
    'userId' in named ? named : bySubject(named.subject);

  const bySubject = async (subject: string): Promise<Identity> => {
    const [userId] = (await subjects?.readMany([subject])) ?? [];
    return userId == null ? { problem: 'the user of the token does not exist' } : { userId };
  };

  return (authorization) => {
    if (authorization === undefined) return { problem: 'send the header Authorization: Bearer <token>' };
    const key = authorization.length > MAX_KEY_CHARACTERS ? hash('sha256', authorization) : authorization;
    const known = verifiedTokens.get(key);
    return known && known.until > Date.now() ? identityOf(known.named) : check(authorization, key);
  };
}

/** Undefined for a claim that can name nobody: none, no text, or a text that no row can hold. */
function whomItNames(payload: JWTPayload, claim: string): Named | undefined {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
  if (typeof value !== 'string' || value === '' || value.length > MAX_SUBJECT_CHARACTERS) return undefined;
  if (isUuid(value)) return { userId: value.toLowerCase() };
  // Half a surrogate pair has no UTF-8 form: all of them would be one subject.
  return value.includes('\0') || /\p{Surrogate}/u.test(value) ? undefined : { subject: value };
}

function verifier(auth: Config['auth'], options: object): (token: string) => Promise<JWTPayload> {
  if (auth.jwksUrl !== undefined) {
    const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(auth.jwksUrl), { timeoutDuration: 3_000 });
    const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
    return async (token) => (await jwtVerify(token, keys, { ...options, algorithms })).payload;
  }
  const secret = new TextEncoder().encode(auth.secret ?? '');
  return async (token) => (await jwtVerify(token, secret, { ...options, algorithms: ['HS256'] })).payload;
}
