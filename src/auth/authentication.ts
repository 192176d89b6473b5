import { hash } from 'node:crypto';
import { errors, jwtVerify, type JWTPayload } from 'jose';
import { LRUCache } from 'lru-cache';

import type { CachedResource } from '../cache/core/resource.js';
import type { Config } from '../config.js';
import type { Identity } from './authorization.js';
import type { Logger } from '../logger.js';
import { isUuid } from '../uuid.js';
import { KeySet } from './key-set.js';

/**
 * Turns the `Authorization` header of a request into an identity. It answers at once if the token was verified before
 * and names the user by id.
 * @throws Error if the keys to verify the token, or the user whom it names, cannot be read
 */
export interface Authenticator {
  (authorization: string | undefined): Identity | Promise<Identity>;
  /** The same for a token that need not be verified now; undefined for any other. */
  remembered(authorization: string): Identity | Promise<Identity> | undefined;
  /** Whether a token was once valid. It may have to be verified again. */
  wasValid(authorization: string): boolean;
}

/** Finds users by their names at the identity provider. */
export type Subjects = Pick<CachedResource<string, string>, 'readMany'>;

/**
 * How long a verified token is trusted (ms), unless it expires earlier. With the age of the keys, a token whose key was
 * withdrawn is refused within a minute.
 */
const VERIFIED_TOKEN_MS = 30_000;
const MAX_TOKENS = 10_000;
/** Longer headers are remembered by their digest, which costs some microseconds a request. */
const MAX_KEY_CHARACTERS = 1_000;
/** The maximum length of a subject in the database. */
const MAX_SUBJECT_CHARACTERS = 255;

/** The user that a token names: by id, or by the subject at the identity provider. */
type Named = { readonly userId: string } | { readonly subject: string };

/**
 * Verifies bearer tokens: HS256 with the shared secret, or the asymmetric algorithms of a JWKS, with issuer and
 * audience if they are configured. The claim JWT_USER_CLAIM (`sub`) names the user: a uuid is the user's id; any
 * other text is looked up in `users.subject`, through the cache, on every request.
 */
export function createAuthenticator(
  auth: Config['auth'],
  log: Pick<Logger, 'warn'>,
  subjects?: Subjects,
): Authenticator {
  const options = {
    ...(auth.allowsNoExpiry ? {} : { requiredClaims: ['exp'] }),
    ...(auth.issuer === undefined ? {} : { issuer: auth.issuer }),
    ...(auth.audience === undefined ? {} : { audience: auth.audience }),
    clockTolerance: 5,
  };
  const verify = verifier(auth, options, log);
  /** Verified tokens by header, or by its digest: a client can make the header 16 kB long. */
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
      if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'exp')
        return { problem: 'the token must expire: it has no claim exp' };
      if (!(error instanceof errors.JOSEError)) throw error;
      return { problem: 'the token is not valid' };
    }
  };

  const identityOf = (named: Named): Identity | Promise<Identity> =>
    'userId' in named ? named : bySubject(named.subject);

  const bySubject = async (subject: string): Promise<Identity> => {
    const [userId] = (await subjects?.readMany([subject])) ?? [];
    return userId == null ? { problem: 'the user of the token does not exist' } : { userId };
  };

  const keyOf = (authorization: string): string =>
    authorization.length > MAX_KEY_CHARACTERS ? hash('sha256', authorization) : authorization;

  const rememberedAt = (key: string): Identity | Promise<Identity> | undefined => {
    const known = verifiedTokens.get(key);
    return known && known.until > Date.now() ? identityOf(known.named) : undefined;
  };

  const authenticate = (authorization: string | undefined): Identity | Promise<Identity> => {
    if (authorization === undefined) return { problem: 'send the header Authorization: Bearer <token>' };
    const key = keyOf(authorization);
    return rememberedAt(key) ?? check(authorization, key);
  };
  return Object.assign(authenticate, {
    remembered: (authorization: string) => rememberedAt(keyOf(authorization)),
    wasValid: (authorization: string) => verifiedTokens.has(keyOf(authorization)),
  });
}

/** Undefined if the claim can name no user: it is missing, is not a text, or is a text that no row can hold. */
function whomItNames(payload: JWTPayload, claim: string): Named | undefined {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
  if (typeof value !== 'string' || value === '' || value.length > MAX_SUBJECT_CHARACTERS) return undefined;
  if (isUuid(value)) return { userId: value.toLowerCase() };
  // Half a surrogate pair has no UTF-8 form, so all such texts would become the same subject.
  return value.includes('\0') || /\p{Surrogate}/u.test(value) ? undefined : { subject: value };
}

function verifier(
  auth: Config['auth'],
  options: object,
  log: Pick<Logger, 'warn'>,
): (token: string) => Promise<JWTPayload> {
  if (auth.jwksUrl !== undefined) {
    const keys = new KeySet(auth.jwksUrl, (error) =>
      log.warn({ err: error }, 'The keys of the identity provider cannot be read'),
    );
    const algorithms = ['RS256', 'PS256', 'ES256', 'EdDSA'];
    return async (token) =>
      (
        await jwtVerify(token, async (header, input) => await keys.keyOf(header, input), {
          ...options,
          algorithms,
        })
      ).payload;
  }
  const secrets = [
    auth.secret ?? '',
    ...(auth.previousSecret === undefined ? [] : [auth.previousSecret]),
  ].map((secret) => new TextEncoder().encode(secret));
  return async (token) => await verifyWithOneOf(secrets, token, options);
}

/** While a secret is being replaced, tokens that were signed with the previous one are valid as well. */
async function verifyWithOneOf(
  secrets: readonly Uint8Array[],
  token: string,
  options: object,
): Promise<JWTPayload> {
  const [secret, ...others] = secrets;
  try {
    return (await jwtVerify(token, secret ?? new Uint8Array(), { ...options, algorithms: ['HS256'] }))
      .payload;
  } catch (error) {
    if (others.length === 0 || !(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    return await verifyWithOneOf(others, token, options);
  }
}
