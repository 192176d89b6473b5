import { eq, getViewSelectedFields, sql } from 'drizzle-orm';

import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { organizations, organizationStats, organizationTotals } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import type { OrganizationStats } from './organization-stats.type.js';
import type { Organization } from './organization.type.js';

export class OrganizationRepository {
  private readonly byIds;
  private readonly statsByIds;

  constructor(private readonly db: Database) {
    this.byIds = db
      .select({
        snapshot: moment,
        organization: { id: organizations.id, name: organizations.name, slug: organizations.slug },
      })
      .from(wantedIds)
      .leftJoin(organizations, eq(organizations.id, wantedId))
      .orderBy(wantedPosition)
      .prepare('organizations_by_ids');
    this.statsByIds = db
      .select({ snapshot: moment, stats: getViewSelectedFields(organizationStats) })
      .from(wantedIds)
      .leftJoin(organizationStats, eq(organizationStats.id, wantedId))
      .orderBy(wantedPosition)
      .prepare('organization_stats_by_ids');
  }

  /** Organizations aligned with the ids, in one statement. */
  async findMany(ids: readonly string[], since: SnapshotText): Promise<Snapshotted<Organization>[]> {
    const rows = await this.byIds.execute({ ids, since });
    return rows.map(({ snapshot, organization }) => ({ snapshot, value: organization }));
  }

  /** Statistics aligned with the organizations' ids, in one statement. It sums at most 64 rows of totals for each. */
  async findStats(ids: readonly string[], since: SnapshotText): Promise<Snapshotted<OrganizationStats>[]> {
    const rows = await this.statsByIds.execute({ ids, since });
    return rows.map(({ snapshot, stats }) => ({ snapshot, value: stats }));
  }

  /** The organizations with the latest messages. It looks at the totals of all organizations. */
  async findMostActive(limit: number): Promise<string[]> {
    const rows = await this.db
      .select({ id: organizationTotals.orgId })
      .from(organizationTotals)
      .groupBy(organizationTotals.orgId)
      .orderBy(sql`max(${organizationTotals.lastMessageAt}) desc nulls last`)
      .limit(limit);
    return rows.map(({ id }) => id);
  }
}
