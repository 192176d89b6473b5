import { eq, sql, type SQLWrapper } from 'drizzle-orm';

import type { Snapshotted } from '../cache/resource.js';
import { currentSnapshot } from '../db/cache-epoch.js';
import type { Database } from '../db/client.js';
import { toCount } from '../db/count.js';
import { botCounts, organizations, organizationTotals } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import type { OrganizationStats } from './organization-stats.type.js';
import type { Organization } from './organization.type.js';

/** A count that is zero without rows. */
const count = (counted: SQLWrapper) =>
  sql<number>`coalesce(${counted}, 0)`.mapWith((written: string) => toCount(Number(written)));

export class OrganizationRepository {
  private readonly byIds;
  private readonly statsByIds;

  constructor(db: Database) {
    this.byIds = db
      .select({
        snapshot: currentSnapshot,
        organization: { id: organizations.id, name: organizations.name, slug: organizations.slug },
      })
      .from(wantedIds)
      .leftJoin(organizations, eq(organizations.id, wantedId))
      .orderBy(wantedPosition)
      .prepare('organizations_by_ids');
    // Lateral, so that no plan reads the shards of others.
    const totals = sql`lateral (
      select sum(running_bots) as running, sum(total_messages) as messages, sum(failed_messages) as failed,
        max(last_message_at) as last
      from ${organizationTotals} where org_id = ${wantedId}) as totals`;
    this.statsByIds = db
      .select({
        snapshot: currentSnapshot,
        id: organizations.id,
        bots: count(botCounts.total),
        runningBots: count(sql`totals.running`),
        totalMessages: count(sql`totals.messages`),
        failedMessages: count(sql`totals.failed`),
        lastMessageAt: sql<string | null>`totals.last`.mapWith(organizationTotals.lastMessageAt),
      })
      .from(wantedIds)
      .leftJoin(organizations, eq(organizations.id, wantedId))
      .leftJoin(botCounts, eq(botCounts.orgId, wantedId))
      .leftJoin(totals, sql`true`)
      .orderBy(wantedPosition)
      .prepare('organization_stats_by_ids');
  }

  /** Organizations aligned with the ids, in one statement. */
  async findMany(ids: readonly string[]): Promise<Snapshotted<Organization>[]> {
    const rows = await this.byIds.execute({ ids });
    return rows.map(({ snapshot, organization }) => ({ snapshot, value: organization }));
  }

  /** Statistics aligned with the organizations' ids, in one statement. It sums at most 64 rows of totals for each. */
  async findStats(ids: readonly string[]): Promise<Snapshotted<OrganizationStats>[]> {
    const computedAt = new Date().toISOString();
    const rows = await this.statsByIds.execute({ ids });
    return rows.map(({ snapshot, id, ...stats }) => ({
      snapshot,
      value: id === null ? null : { id, ...stats, computedAt },
    }));
  }
}
