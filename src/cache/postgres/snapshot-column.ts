/**
 * SQL for the snapshot of a statement, with the epoch of the database, for reads of the log. Loads select
 * `cache_moment(since)` instead, which says more.
 */
export const SNAPSHOT_SQL =
  "pg_current_snapshot()::text || '@' || coalesce((select epoch from public.cache_log_state), '')";
