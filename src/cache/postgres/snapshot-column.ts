/**
 * SQL for the snapshot of a statement, with the epoch of the database. Every load for the cache selects it beside its
 * rows: the log check refuses a value whose snapshot has no epoch.
 */
export const SNAPSHOT_SQL =
  "pg_current_snapshot()::text || '@' || coalesce((select epoch from public.cache_log_state), '')";
