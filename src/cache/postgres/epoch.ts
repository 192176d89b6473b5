import { epochOf, withoutEpoch, type SnapshotText } from '../core/snapshot.js';
import type { Sql } from './connection.js';

/**
 * Begins a new epoch with an empty invalidation log, if the log came with a restored or moved database, or if the
 * epoch is still `outdated`. From then on every process refuses all values cached before, wherever they are stored.
 */
async function renewEpoch(sql: Sql, outdated: string | null): Promise<void> {
  await sql`select public.renew_cache_epoch(${outdated})`;
}

/**
 * Begins a new epoch if another database wrote the invalidation log: this one was restored or moved.
 * @param since an earlier snapshot of the same database; if the database has fewer transactions now, it was set back
 * while its servers ran
 * @returns whether a new epoch began
 */
export async function renewForeignEpoch(sql: Sql, since: SnapshotText | undefined): Promise<boolean> {
  const earlier = since === undefined ? null : withoutEpoch(since);
  const [log] = await sql<{ is_own: boolean }[]>`
    select public.cache_log_is_own() and pg_snapshot_xmax(pg_current_snapshot())
      >= coalesce(pg_snapshot_xmax(${earlier}::pg_snapshot), '0') as is_own`;
  if (log?.is_own === true) return false;
  await renewEpoch(sql, since === undefined ? null : epochOf(since).slice(1));
  return true;
}

/** Begins a new epoch in any case: every process refuses all cached values. */
export async function resetCache(sql: Sql): Promise<void> {
  const [state] = await sql<{ epoch: string }[]>`select epoch from public.cache_log_state`;
  await renewEpoch(sql, state?.epoch ?? null);
}
