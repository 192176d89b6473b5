import { createCache } from 'async-cache-dedupe';
import type { Redis } from 'ioredis';

import type { Writer } from '../../src/auth/authorization.js';
import { createAuthenticator } from '../../src/auth/authentication.js';
import type { Principal } from '../../src/auth/principal.js';
import type { PrincipalRepository } from '../../src/auth/principal.repository.js';
import { allows, Role, rolesThatAllow } from '../../src/auth/role.enum.js';
import type { Config } from '../../src/config.js';
import { notFound, unauthenticated } from '../../src/errors.js';

const TTL_SECONDS = 300;

/** The caller of one of the opponents B, C and D, under the same rules as ours. */
export class Caller {
  constructor(private readonly known: Principal | string) {}

  /** Part of the key of a cached response: the caller's organizations; null without a caller. */
  get session(): string | null {
    if (typeof this.known === 'string') return null;
    return this.known.memberships.map(({ orgId, role }) => `${orgId}=${role}`).join(',');
  }

  /** @throws ApiError UNAUTHENTICATED */
  get principal(): Principal {
    if (typeof this.known === 'string') throw unauthenticated(this.known);
    return this.known;
  }

  /** @throws ApiError NOT_FOUND to anyone who may not see the organization */
  require(needed: Role, orgId: string | undefined, what: string): void {
    const role = this.principal.memberships.find((membership) => membership.orgId === orgId)?.role;
    if (role === undefined || !allows(role, needed)) throw notFound(what);
  }

  /** The caller, for the condition of a statement that writes. */
  get writer(): Writer {
    return { userId: this.principal.id, roles: rolesThatAllow(Role.EDITOR) };
  }

  /** The organizations in which the caller may write. */
  get editable(): readonly string[] {
    return this.principal.memberships
      .filter(({ role }) => allows(role, Role.EDITOR))
      .map(({ orgId }) => orgId);
  }
}

/**
 * Reads the caller of a request: our check of the token, then the user's memberships. These libraries cache resolvers
 * or responses, and leave memberships to the application: here async-cache-dedupe caches them in the same Redis, and shares
 * concurrent reads.
 * @param redis absent: read from the database for every request.
 */
export function createCallerReader(
  auth: Config['auth'],
  principals: PrincipalRepository,
  redis: Redis | undefined,
): (authorization: string | undefined) => Promise<Caller> {
  const authenticate = createAuthenticator(auth, { warn: () => undefined });
  const find = async (id: string): Promise<Principal | null> =>
    (await principals.findMany([id]))[0]?.value ?? null;
  const read = redis === undefined ? find : cachedInRedis(find, redis);
  return async (authorization) => {
    const found = authenticate(authorization);
    const identity = found instanceof Promise ? await found : found;
    if ('problem' in identity) return new Caller(identity.problem);
    return new Caller((await read(identity.userId)) ?? 'the user of the token does not exist');
  };
}

function cachedInRedis(find: (id: string) => Promise<Principal | null>, redis: Redis): typeof find {
  const cache = createCache({ storage: { type: 'redis', options: { client: redis } } });
  return cache.define('principal', { ttl: TTL_SECONDS, serialize: (id: string) => id }, find).principal;
}
