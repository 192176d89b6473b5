import type { LogBatch, LogEntry, LogSource } from '../cache/invalidation/invalidation-log.js';
import { withoutEpoch, xmaxOf, type SnapshotText } from '../cache/invalidation/snapshot.js';
import { renewForeignEpoch } from './cache-epoch.js';
import { openDriver, type Sql } from './driver.js';

/** A part of a statement. */
type PendingQuery = ReturnType<Sql>;

interface LogRow {
  snapshot: SnapshotText;
  /** null: the row of the log's state is gone. */
  complete_from: string | null;
  xid: string | null;
  tags: string[] | null;
}

/** A poll without an answer for this long has failed; the connection is then replaced. */
const POLL_TIMEOUT_MS = 1_000;
/** As long for a read that may find very much: the first one, and the first one after a failure. */
const CATCH_UP_TIMEOUT_MS = 10_000;
/** The most entries of the first read; values from before them are not judged, but refused. */
const MAX_ROWS_AT_START = 50_000;
/** Likewise, of the reads that follow: what 2 s of 10,000 writes a second leave. */
const MAX_ROWS = 20_000;
/** The most tags in the entries of one read, likewise: about 10 MB. */
const MAX_TAGS = 200_000;
/** A read that failed is repeated with fewer entries, down to this many, so that a backlog blinds nobody for good. */
const MIN_ROWS = 500;
/** The most entries that are removed in one transaction. */
const PRUNED_AT_ONCE = 5_000;
const LEADER_LOCK = 7_305_190_415;

/**
 * Reads the table `cache_invalidations` over a connection of its own, so that a busy pool cannot delay it.
 *
 * What a snapshot has not seen is what was running when it was taken (`xip`) or began later (from `xmax` on): both are
 * found by the index, however old the oldest running transaction is.
 */
export function invalidationLogSource(url: string): LogSource {
  let sql: Sql | undefined;
  /** The connection that holds the leader's lock; the lock goes with it. */
  let leading: Sql | undefined;

  const connection = (): Sql =>
    (sql ??= openDriver(url, {
      max: 1,
      connect_timeout: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connection: { application_name: 'flovo-bots invalidation log' },
    }));

  const drop = () => {
    const dropped = sql;
    sql = undefined;
    // What is still under way on it is given up at once; its failure was already told to the caller of the poll.
    dropped?.end({ timeout: 0 }).catch(() => undefined);
  };

  /** Whether the last read failed, or there was none. */
  let isBehind = true;
  let maxRows = MAX_ROWS_AT_START;

  /** Reads entries, the newest first, `most` and one more. */
  const read = async (
    session: Sql,
    most: number,
    entries: (limit: number) => PendingQuery,
  ): Promise<LogBatch> => {
    const rows = await session<LogRow[]>`
      select now.snapshot, now.complete_from, o.xid::text as xid, to_json(o.tags) as tags
      from (
        select pg_current_snapshot()::text || '@' || coalesce((select epoch from cache_log_state), '') as snapshot,
          (select pruned_below::text from cache_log_state) as complete_from
      ) as now
      left join (
        select xid, tags from (
          select xid, tags, sum(cardinality(tags)) over (order by xid desc rows unbounded preceding) as tags_so_far
          from (${entries(most + 1)}) as newest
        ) as counted
        where tags_so_far - cardinality(tags) <= ${MAX_TAGS}
        order by xid desc limit ${most + 1}
      ) as o on true`;
    const batch = toBatch(rows, most);
    if (rows[0]?.complete_from === null) await session`select restore_cache_log_state()`;
    return batch;
  };

  /** Reads, and makes sure that the log is of this database, in one round trip; if it was not, it is read again. */
  const readOwn = async (
    query: (sql: Sql) => Promise<LogBatch>,
    since: SnapshotText | undefined,
  ): Promise<LogBatch> => {
    const session = connection();
    const [isRenewed, batch] = await Promise.all([renewForeignEpoch(session, since), query(session)]);
    return isRenewed ? await query(session) : batch;
  };

  const inTime = async (query: (sql: Sql) => Promise<LogBatch>, since?: SnapshotText): Promise<LogBatch> => {
    const timeoutMs = isBehind ? CATCH_UP_TIMEOUT_MS : POLL_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      const batch = await Promise.race([
        readOwn(query, since),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        }),
      ]);
      isBehind = false;
      maxRows = MAX_ROWS_AT_START;
      return batch;
    } catch (error) {
      if (isBehind) maxRows = Math.max(MIN_ROWS, Math.floor(maxRows / 4));
      isBehind = true;
      drop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    open: async () =>
      await inTime(
        async (session) =>
          // What is below has not all been kept, and need not be read: index entries of removed rows are many there.
          await read(
            session,
            maxRows,
            (limit) => session`
              select xid, tags from cache_invalidations
              where xid >= coalesce((select pruned_below from cache_log_state), '0')
                and xid < pg_snapshot_xmax(pg_current_snapshot())
              order by xid desc limit ${limit}`,
          ),
      ),
    // Ids from the future belong to rows that were restored from another cluster.
    poll: async (since) =>
      await inTime(
        async (session) =>
          await read(
            session,
            Math.min(maxRows, MAX_ROWS),
            (limit) => session`
              (select xid, tags from cache_invalidations
                where xid >= pg_snapshot_xmax(${withoutEpoch(since)}::pg_snapshot)
                  and xid < pg_snapshot_xmax(pg_current_snapshot())
                order by xid desc limit ${limit})
              union all
              (select xid, tags from cache_invalidations
                where xid = any (array(select pg_snapshot_xip(${withoutEpoch(since)}::pg_snapshot))) order by xid desc limit ${limit})
              order by xid desc limit ${limit}`,
          ),
        since,
      ),
    lead: async () => {
      // What waits for a connection that is given up makes the driver open it again, and nobody would ever close it.
      if (isBehind) return false;
      if (leading !== undefined && leading === sql) return true;
      const session = connection();
      const [row] = await session<{ leads: boolean }[]>`select pg_try_advisory_lock(${LEADER_LOCK}) as leads`;
      leading = row?.leads === true ? session : undefined;
      return leading !== undefined;
    },
    prune: async (lowest, below) => {
      if (isBehind) throw new Error('The log cannot be read');
      let removed = 0;
      for (;;) {
        // Polls take turns with the batches on this connection.
        const [row] = await connection()<{ removed: string }[]>`
          select prune_cache_log(${String(lowest)}::xid8, ${String(below)}::xid8, ${PRUNED_AT_ONCE}::int) as removed`;
        removed += Number(row?.removed ?? 0);
        if (Number(row?.removed ?? 0) < PRUNED_AT_ONCE) return removed;
      }
    },
    close: async () => {
      await sql?.end({ timeout: 1 });
    },
  };
}

function toBatch(rows: readonly LogRow[], most: number): LogBatch {
  const [first] = rows;
  if (!first) throw new Error('The database has answered nothing');
  const { snapshot, complete_from: completeFrom } = first;
  const entries: LogEntry[] = [];
  let tagCount = 0;
  for (const { xid, tags } of rows.toReversed()) {
    if (xid === null || tags === null) continue;
    entries.push({ xid: Number(xid), tags });
    tagCount += tags.length;
  }
  const isCut = entries.length > most || tagCount > MAX_TAGS;
  return {
    snapshot,
    entries,
    completeFrom: Math.max(
      // Nobody knows what has been removed: no value that was read until now can be judged.
      completeFrom === null ? xmaxOf(snapshot) : Number(completeFrom),
      isCut ? (entries[0]?.xid ?? 0) + 1 : 0,
    ),
  };
}
