import { sql } from 'drizzle-orm';

import type { Snapshotted, UncachedResource } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { auditLog } from '../db/tables.js';
import { orgStatsTag, orgTag } from '../invalidation/tags.js';
import type { AuditEntry } from './audit-log.type.js';

/** The page of an organization's audit log to read: how many entries, and after which, newest first. */
export interface AuditPageQuery {
  readonly orgId: string;
  readonly first: number;
  /** The id of an entry; null: from the newest on. */
  readonly after: string | null;
}

export interface AuditPage {
  /** One more than asked for, if there are more. */
  readonly entries: readonly AuditEntry[];
  readonly hasPrevious: boolean;
}

/** The SQL of the audit log. The statements of mutations write it, see `auditWrite`. */
export class AuditLogRepository {
  private readonly page;

  constructor(private readonly db: Database) {
    const isOfOrganization = sql`${auditLog.orgId} = ${sql.placeholder('orgId')}::uuid`;
    const after = sql`${sql.placeholder('after')}::bigint`;
    this.page = db
      .select({
        snapshot: moment,
        hasPrevious: sql<boolean>`coalesce((
          select true from ${auditLog} where ${isOfOrganization} and ${auditLog.id} >= ${after} limit 1), false)`,
        entries: sql<readonly AuditEntry[]>`(
          select coalesce(json_agg(json_build_object(
            'id', entry.id::text, 'at', to_char(entry.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
            'userId', entry.user_id, 'mutation', entry.mutation, 'entityIds', entry.entity_ids,
            'requestId', entry.request_id, 'idempotencyKey', entry.idempotency_key) order by entry.id desc), '[]')
          from (
            select * from ${auditLog} where ${isOfOrganization} and ${auditLog.id} < coalesce(${after}, 9223372036854775807)
            order by ${auditLog.id} desc limit ${sql.placeholder('size')}::int
          ) as entry)`,
      })
      .from(sql`(select) as one`)
      .prepare('audit_log_page');
  }

  async findPage(
    { orgId, first, after }: AuditPageQuery,
    since: SnapshotText,
  ): Promise<Snapshotted<AuditPage>> {
    const [row] = await this.page.execute({ orgId, after, size: first + 1, since });
    if (!row) throw new Error('The database returned no row');
    const { snapshot, entries, hasPrevious } = row;
    return { snapshot, value: { entries, hasPrevious } };
  }

  /** Removes entries that are older, at most `most` of them; returns how many. Another process may do so instead. */
  async prune(maxAgeDays: number, most: number): Promise<number> {
    const [row] = await this.db.execute<{ removed: string }>(
      sql`select public.prune_audit_log(make_interval(days => ${maxAgeDays}::int), ${most}::int) as removed`,
    );
    return Number(row?.removed ?? 0);
  }
}

/**
 * Pages of the audit log, for reads that are not cached. Every mutation outdates one of the tags: so a page is read
 * again if something was written between it and the rest of an answer.
 */
export const auditPages = (log: AuditLogRepository): UncachedResource<AuditPageQuery, AuditPage> => ({
  name: 'auditPage',
  key: 'org:{orgId}:audit',
  params: ({ orgId }) => ({ orgId }),
  tags: [orgTag, orgStatsTag],
  load: async (queries, since) =>
    await Promise.all(queries.map(async (query) => await log.findPage(query, since))),
});
