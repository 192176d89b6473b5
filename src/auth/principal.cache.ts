import { cached } from '../cache/core/resource.js';
import type { Ttls } from '../config.js';
import { userTag } from '../invalidation/tags.js';
import type { Principal } from './principal.js';
import type { PrincipalRepository } from './principal.repository.js';

/** A user and their memberships; every request's authorization reads them. */
export const principalResources = (principals: PrincipalRepository, ttl: Ttls) => ({
  principal: cached<Principal>({
    key: 'user:{id}',
    tags: [userTag],
    shape: {
      id: 'string',
      email: 'string',
      name: 'string',
      memberships: [{ orgId: 'string', role: 'string' }],
    },
    ttlSeconds: ttl.principal,
    load: async (ids, since) => await principals.findMany(ids, since),
  }),
});

export type PrincipalResources = ReturnType<typeof principalResources>;
