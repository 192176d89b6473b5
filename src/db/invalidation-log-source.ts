import type { LogBatch, LogEntry, LogSource } from '../cache/invalidation-log.js';
import { withoutEpoch, type SnapshotText } from '../cache/snapshot.js';
import { renewForeignEpoch } from './cache-epoch.js';
import { openDriver, type Sql } from './driver.js';

interface LogRow {
  snapshot: SnapshotText;
  complete_from: string;
  xid: string | null;
  tags: string[] | null;
}

/** A poll without an answer for this long has failed; the connection is then replaced. */
const POLL_TIMEOUT_MS = 1_000;
/** As long for a read that may find very much: the first one, and the first one after a failure. */
const CATCH_UP_TIMEOUT_MS = 30_000;
/** The most entries read at the start; values from before them are not judged, but refused. */
const MOST_ROWS = 100_000;
const LEADER_LOCK = 7_305_190_415;
/** The one that `keep_cache_log_short()` takes in the database. */
const PRUNE_LOCK = 7_305_190_414;

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

  const batch = async (query: (sql: Sql) => Promise<LogRow[]>, since?: SnapshotText): Promise<LogBatch> => {
    const timeoutMs = isBehind ? CATCH_UP_TIMEOUT_MS : POLL_TIMEOUT_MS;
    let timer: NodeJS.Timeout | undefined;
    try {
      const rows = await Promise.race([
        renewForeignEpoch(connection(), since).then(async () => await query(connection())),
        new Promise<never>((_, reject) => {
          timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        }),
      ]);
      isBehind = false;
      const entries: LogEntry[] = [];
      for (const { xid, tags } of rows)
        if (xid !== null && tags !== null) entries.push({ xid: Number(xid), tags });
      return {
        snapshot: rows[0]?.snapshot ?? '',
        entries,
        completeFrom: Math.max(
          Number(rows[0]?.complete_from ?? 0),
          rows.length > MOST_ROWS ? oldestOf(entries) : 0,
        ),
      };
    } catch (error) {
      isBehind = true;
      drop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    open: async () =>
      await batch(
        async (sql) =>
          await sql<LogRow[]>`
          select now.snapshot, now.complete_from, o.xid::text as xid, to_json(o.tags) as tags
          from (
            select pg_current_snapshot()::text || '@' || epoch as snapshot, pruned_below::text as complete_from
            from cache_log_state
          ) as now
          left join (
            select xid, tags from cache_invalidations order by xid desc limit ${MOST_ROWS + 1}
          ) as o on true`,
      ),
    poll: async (since) =>
      await batch(
        async (sql) =>
          await sql<LogRow[]>`
          select now.snapshot, now.complete_from, o.xid::text as xid, to_json(o.tags) as tags
          from (
            select pg_current_snapshot()::text || '@' || epoch as snapshot, pruned_below::text as complete_from
            from cache_log_state
          ) as now
          left join cache_invalidations as o
            on o.xid >= pg_snapshot_xmax(${withoutEpoch(since)}::pg_snapshot)
            or o.xid = any (array(select pg_snapshot_xip(${withoutEpoch(since)}::pg_snapshot)))`,
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
    prune: async (below) => {
      if (isBehind) return 0;
      const [row] = await connection()<{ removed: string }[]>`
        select prune_cache_invalidations(${String(below)}::xid8) as removed where pg_try_advisory_xact_lock(${PRUNE_LOCK})`;
      return Number(row?.removed ?? 0);
    },
    close: async () => {
      await sql?.end({ timeout: 1 });
    },
  };
}

const oldestOf = (entries: readonly LogEntry[]): number =>
  entries.reduce((oldest, { xid }) => Math.min(oldest, xid), Infinity) + 1;
