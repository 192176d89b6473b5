import { createRemoteJWKSet, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from 'jose';
import { LRUCache } from 'lru-cache';

import type { Config } from '../config.js';
import type { Identity } from './access.js';

/**
 * Turns the `Authorization` header of a request into an identity; at once where the token was checked before.
 * @throws Error if the keys to check it with cannot be had
 */
export type IdentityReader = (authorization: string | undefined) => Identity | Promise<Identity>;

/** A checked token is believed this long (ms), or until it expires; a key that is withdrawn stops counting then. */
const BELIEVED_MS = 60_000;
const MOST_TOKENS = 10_000;

/** What jose says of keys that it could not fetch, or not read; everything else is about the token. */
const KEYS_NOT_HAD: ReadonlySet<string> = new Set([
  'ERR_JWKS_TIMEOUT',
  'ERR_JOSE_GENERIC',
  'ERR_JWKS_INVALID',
]);

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * Checks bearer tokens: HS256 with the shared secret, or the asymmetric algorithms of a JWKS, with issuer and audience
 * where they are configured. `sub` is the user's id.
 */
export function createIdentityReader(auth: Config['auth']): IdentityReader {
  const options = {
    ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
    ...(auth.audience === undefined ? {} : { audience: auth.audience }),
    requiredClaims: ['sub'],
    clockTolerance: 5,
  };
  const verify = verifier(auth, options);
  const believed = new LRUCache<string, { identity: Identity; until: number }>({ max: MOST_TOKENS });

  const check = async (authorization: string): Promise<Identity> => {
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization.trim()) ?? [];
    if (token === undefined) return { problem: 'the Authorization header must be "Bearer <token>"' };
    try {
      const { sub, exp } = await verify(token);
      const userId = sub?.toLowerCase() ?? '';
      if (!UUID.test(userId)) return { problem: 'the token names no user' };
      const identity = { userId };
      const now = Date.now();
      believed.set(authorization, {
        identity,
        until: Math.min(now + BELIEVED_MS, (exp ?? Infinity) * 1_000),
      });
      return identity;
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { problem: 'the token has expired' };
      if (!(error instanceof errors.JOSEError) || KEYS_NOT_HAD.has(error.code)) throw error;
      return { problem: 'the token is not valid' };
    }
  };

  return (authorization) => {
    if (authorization === undefined) return { problem: 'send the header Authorization: Bearer <token>' };
    const known = believed.get(authorization);
    return known && known.until > Date.now() ? known.identity : check(authorization);
  };
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
