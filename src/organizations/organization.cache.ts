import { cached } from '../cache/core/resource.js';
import type { Ttls } from '../config.js';
import { orgStatsTag, orgTag } from '../invalidation/tags.js';
import type { OrganizationRepository } from './organization.repository.js';
import type { OrganizationStats } from './organization-stats.type.js';
import type { Organization } from './organization.type.js';

export const organizationResources = (organizations: OrganizationRepository, ttl: Ttls) => ({
  organization: cached<Organization>({
    key: 'org:{orgId}',
    tags: [orgTag],
    shape: { id: 'string', name: 'string', slug: 'string' },
    ttlSeconds: ttl.organization,
    load: async (ids, since) => await organizations.findMany(ids, since),
  }),
  organizationStats: cached<OrganizationStats>({
    key: 'org:{orgId}:stats',
    tags: [orgTag, orgStatsTag],
    shape: {
      id: 'string',
      bots: 'number',
      runningBots: 'number',
      totalMessages: 'number',
      failedMessages: 'number',
      lastMessageAt: 'string?',
      computedAt: 'string',
    },
    timesOfLoad: ['computedAt'],
    ttlSeconds: ttl.organizationStats,
    load: async (ids, since) => await organizations.findStats(ids, since),
  }),
});

export type OrganizationResources = ReturnType<typeof organizationResources>;
