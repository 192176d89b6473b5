import type { LogEntry } from '../core/moment.js';
import type { LogBatch } from '../invalidation/invalidation-log.js';
import { withoutEpoch, xmaxOf, type SnapshotText } from '../core/snapshot.js';
import type { Sql } from './connection.js';
import { renewForeignEpoch } from './epoch.js';
import type { LogConnection } from './log-connection.js';
import { SNAPSHOT_SQL } from './snapshot-column.js';

/** A fragment of a statement. */
type PendingQuery = ReturnType<Sql>;

interface LogRow {
  snapshot: SnapshotText;
  /** null: the row of the log's state is missing. */
  complete_from: string | null;
  xid: string | null;
  tags: string[] | null;
}

/** A poll without a reply for this long has failed (ms); the connection is then replaced. */
const POLL_TIMEOUT_MS = 1_000;
/** The same for a read that may return very much: the first one, and the first one after a failure (ms). */
const CATCH_UP_TIMEOUT_MS = 10_000;
/** The maximum number of entries in the first read; values from before them are refused. */
const MAX_ROWS_AT_START = 50_000;
/** The same for later reads: as many as 10,000 writes a second leave in 2 s. */
const MAX_ROWS = 20_000;
/** The maximum number of tags in the entries of one read: about 10 MB. */
const MAX_TAGS = 200_000;
/** A failed read is repeated with fewer entries, but at least this many, so that a backlog cannot fail every read. */
const MIN_ROWS = 500;
/**
 * Reads the table `cache_invalidations`.
 *
 * A snapshot has not seen transactions that were running when it was taken (`xip`) or that began later (from `xmax`
 * on). The index finds both, however old the oldest running transaction is.
 */
export class LogReader {
  private maxRows = MAX_ROWS_AT_START;

  constructor(private readonly connection: LogConnection) {}

  /** Reads all entries of the log. */
  async open(): Promise<LogBatch> {
    return await this.inTime(
      async (session) =>
        // Older entries are incomplete and need not be read: the index has many entries of removed rows there.
        await read(
          session,
          this.maxRows,
          (limit) => session`
            select xid, tags from public.cache_invalidations
            where xid >= coalesce((select pruned_below from public.cache_log_state), '0')
              and xid < pg_snapshot_xmax(pg_current_snapshot())
            order by xid desc limit ${limit}`,
        ),
    );
  }

  /**
   * Reads entries that became visible since a snapshot. Ids from the future belong to rows restored from another
   * cluster.
   */
  async poll(since: SnapshotText): Promise<LogBatch> {
    return await this.inTime(
      async (session) =>
        await read(
          session,
          Math.min(this.maxRows, MAX_ROWS),
          (limit) => session`
            (select xid, tags from public.cache_invalidations
              where xid >= pg_snapshot_xmax(${withoutEpoch(since)}::pg_snapshot)
                and xid < pg_snapshot_xmax(pg_current_snapshot())
              order by xid desc limit ${limit})
            union all
            (select xid, tags from public.cache_invalidations
              where xid = any (array(select pg_snapshot_xip(${withoutEpoch(since)}::pg_snapshot))) order by xid desc limit ${limit})
            order by xid desc limit ${limit}`,
        ),
      since,
    );
  }

  private async inTime(query: (sql: Sql) => Promise<LogBatch>, since?: SnapshotText): Promise<LogBatch> {
    const { connection } = this;
    const timeoutMs = connection.isBehind ? CATCH_UP_TIMEOUT_MS : POLL_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      const batch = await Promise.race([
        readOwn(connection.current, query, since),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        }),
      ]);
      connection.isBehind = false;
      this.maxRows = MAX_ROWS_AT_START;
      return batch;
    } catch (error) {
      if (connection.isBehind) this.maxRows = Math.max(MIN_ROWS, Math.floor(this.maxRows / 4));
      connection.isBehind = true;
      connection.drop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Reads, and checks in the same round trip that the log belongs to this database; if it did not, reads again. */
async function readOwn(
  session: Sql,
  query: (sql: Sql) => Promise<LogBatch>,
  since: SnapshotText | undefined,
): Promise<LogBatch> {
  const [isRenewed, batch] = await Promise.all([renewForeignEpoch(session, since), query(session)]);
  return isRenewed ? await query(session) : batch;
}

/** Reads entries, newest first: `limit` and one more. */
async function read(
  session: Sql,
  limit: number,
  entries: (limit: number) => PendingQuery,
): Promise<LogBatch> {
  const rows = await session<LogRow[]>`
    select now.snapshot, now.complete_from, o.xid::text as xid, to_json(o.tags) as tags
    from (
      select ${session.unsafe(SNAPSHOT_SQL)} as snapshot,
        (select pruned_below::text from public.cache_log_state) as complete_from
    ) as now
    left join (
      select xid, tags from (
        select xid, tags, sum(cardinality(tags)) over (order by xid desc rows unbounded preceding) as tags_so_far
        from (${entries(limit + 1)}) as newest
      ) as counted
      where tags_so_far - cardinality(tags) <= ${MAX_TAGS}
      order by xid desc limit ${limit + 1}
    ) as o on true`;
  const batch = toBatch(rows, limit);
  if (rows[0]?.complete_from === null) await session`select public.restore_cache_log_state()`;
  return batch;
}

function toBatch(rows: readonly LogRow[], limit: number): LogBatch {
  const [first] = rows;
  if (!first) throw new Error('The database returned no row');
  const { snapshot, complete_from: completeFrom } = first;
  const entries: LogEntry[] = [];
  let tagCount = 0;
  for (const { xid, tags } of rows.toReversed()) {
    if (xid === null || tags === null) continue;
    entries.push({ xid: Number(xid), tags });
    tagCount += tags.length;
  }
  const isCut = entries.length > limit || tagCount > MAX_TAGS;
  return {
    snapshot,
    entries,
    completeFrom: Math.max(
      // The removed entries are unknown: refuse every value that was read until now.
      completeFrom === null ? xmaxOf(snapshot) : Number(completeFrom),
      isCut ? (entries[0]?.xid ?? 0) + 1 : 0,
    ),
  };
}
