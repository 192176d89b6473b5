import { sql as drizzleSql } from 'drizzle-orm';

import { epochOf, withoutEpoch, type SnapshotText } from '../cache/invalidation/snapshot.js';
import type { Sql } from './driver.js';

/**
 * The snapshot of a statement, with the epoch of the database. Every load for the cache returns it: a snapshot without the
 * epoch is refused.
 */
export const currentSnapshot = drizzleSql<SnapshotText>`pg_current_snapshot()::text || '@' || coalesce((select epoch from cache_log_state), '')`;

/**
 * Begins a new epoch with an empty invalidation log, if the log came with a restored or moved database, or if the epoch is
 * still `outdated`. All that was cached before is refused from then on, wherever it is kept.
 */
async function renewEpoch(sql: Sql, outdated: string | null): Promise<void> {
  await sql`select renew_cache_epoch(${outdated})`;
}

/**
 * Begins a new epoch if the invalidation log was not written by this database: it was restored or moved.
 * @param since an earlier snapshot of the same database; with fewer transactions now, it was set back beneath its servers
 * @returns whether it did
 */
export async function renewForeignEpoch(sql: Sql, since: SnapshotText | undefined): Promise<boolean> {
  const earlier = since === undefined ? null : withoutEpoch(since);
  const [log] = await sql<{ is_own: boolean }[]>`
    select cache_log_is_own() and pg_snapshot_xmax(pg_current_snapshot())
      >= coalesce(pg_snapshot_xmax(${earlier}::pg_snapshot), '0') as is_own`;
  if (log?.is_own === true) return false;
  await renewEpoch(sql, since === undefined ? null : epochOf(since).slice(1));
  return true;
}

/** Begins a new epoch in any case. */
export async function resetCache(sql: Sql): Promise<void> {
  const [state] = await sql<{ epoch: string }[]>`select epoch from cache_log_state`;
  await renewEpoch(sql, state?.epoch ?? null);
}
