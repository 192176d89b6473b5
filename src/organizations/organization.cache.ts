import { cached } from '../cache/resource.js';
import type { Ttls } from '../config.js';
import { orgTag } from '../invalidation/tags.js';
import type { OrganizationRepository } from './organization.repository.js';
import type { Organization } from './organization.type.js';

export const organizationResources = (organizations: OrganizationRepository, ttl: Ttls) => ({
  organization: cached<Organization>({
    key: 'org:{orgId}',
    tags: [orgTag],
    shape: { id: 'string', name: 'string', slug: 'string' },
    ttlSeconds: ttl.organization,
    load: async (ids) => await organizations.findMany(ids),
  }),
});
