import { createRemoteJWKSet, errors, jwtVerify, type JWTVerifyGetKey } from 'jose';

import type { Config } from '../config.js';
import type { Identity } from './access.js';

/** Turns the `Authorization` header of a request into an identity. Never throws. */
export type IdentityReader = (authorization: string | undefined) => Promise<Identity>;

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
  return async (authorization) => {
    if (authorization === undefined) return { problem: 'send the header Authorization: Bearer <token>' };
    const [, token] = /^Bearer +(\S+)$/i.exec(authorization.trim()) ?? [];
    if (token === undefined) return { problem: 'the Authorization header must be "Bearer <token>"' };
    try {
      const subject = (await verify(token)).toLowerCase();
      return UUID.test(subject) ? { userId: subject } : { problem: 'the token names no user' };
    } catch (error) {
      if (error instanceof errors.JWTExpired) return { problem: 'the token has expired' };
      return { problem: 'the token is not valid' };
    }
  };
}

function verifier(auth: Config['auth'], options: object): (token: string) => Promise<string> {
  if (auth.jwksUrl !== undefined) {
    const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(auth.jwksUrl), { timeoutDuration: 3_000 });
    const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
    return async (token) => (await jwtVerify(token, keys, { ...options, algorithms })).payload.sub ?? '';
  }
  const secret = new TextEncoder().encode(auth.secret ?? '');
  return async (token) =>
    (await jwtVerify(token, secret, { ...options, algorithms: ['HS256'] })).payload.sub ?? '';
}
