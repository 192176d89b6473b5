import type { Resource } from '../cache/resource.js';
import { orgTag } from '../invalidation/tags.js';
import type { OrganizationRepository } from './organization.repository.js';
import type { Organization } from './organization.type.js';

const TTL_SECONDS = 300;

/** `org:{orgId}` */
export const organizationResource = (repository: OrganizationRepository): Resource<string, Organization> => ({
  name: 'organization',
  key: (keys) => {
    const key = keys.template('org:{orgId}');
    return (orgId) => key({ orgId });
  },
  entityId: (orgId) => orgId,
  dependsOn: [orgTag],
  shape: { id: 'string', name: 'string', slug: 'string' },
  ttlSeconds: TTL_SECONDS,
  load: async (ids) => await repository.findMany(ids),
});
