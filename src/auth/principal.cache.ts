import type { Resource } from '../cache/resource.js';
import { userTag } from '../invalidation/tags.js';
import type { Principal } from './principal.js';
import type { PrincipalRepository } from './principal.repository.js';

const TTL_SECONDS = 300;

/** `user:{id}`: who the user is and which organizations they belong to; every request's authorization reads it. */
export const principalResource = (repository: PrincipalRepository): Resource<string, Principal> => ({
  name: 'user',
  key: (keys) => {
    const key = keys.template('user:{id}');
    return (id) => key({ id });
  },
  entityId: (id) => id,
  dependsOn: [userTag],
  shape: {
    id: 'string',
    email: 'string',
    name: 'string',
    memberships: [{ orgId: 'string', role: 'string' }],
  },
  ttlSeconds: TTL_SECONDS,
  load: async (ids) => await repository.findMany(ids),
});
