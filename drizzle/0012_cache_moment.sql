-- What a load for the cache must know beside its rows. It is the end of part 2 of src/cache/postgres/schema.sql.

-- The moment at which a statement sees the database: its snapshot, `@`, the epoch of the database, and a blank with the entries
-- of the log that this snapshot has seen and `since` has not: `795:797:795@5f2c9e01a7b3 [[796,["bot:7f3c…"]]]`. `since` is such a
-- snapshot with its epoch. Instead of many entries, or if `since` is of another epoch, it gives ` *`: read the log. Without
-- `since` (null or empty) it gives the snapshot and the epoch alone.
--
--   SELECT (SELECT cache_moment($1)) AS snapshot, bots.* FROM bots WHERE id = $2
CREATE FUNCTION public.cache_moment(since text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
  SELECT now.snapshot::text || '@' || now.epoch || CASE
    WHEN coalesce(since, '') = '' THEN ''
    WHEN since = now.snapshot::text || '@' || now.epoch THEN ' []'
    WHEN split_part(since, '@', 2) <> now.epoch THEN ' *'
    ELSE (
      SELECT ' ' || CASE WHEN count(*) > 20 OR sum(cardinality(tags)) > 200 THEN '*'
        ELSE coalesce(json_agg(json_build_array(xid::text::bigint, tags))::text, '[]') END
      FROM (
        (SELECT xid, tags FROM public.cache_invalidations
          WHERE xid >= pg_snapshot_xmax(split_part(since, '@', 1)::pg_snapshot) AND xid < pg_snapshot_xmax(pg_current_snapshot())
          ORDER BY xid LIMIT 21)
        UNION ALL
        (SELECT xid, tags FROM public.cache_invalidations
          WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(split_part(since, '@', 1)::pg_snapshot)))
          ORDER BY xid LIMIT 21)
      ) AS unseen
    )
  END
  FROM (
    SELECT pg_current_snapshot() AS snapshot, coalesce((SELECT epoch FROM public.cache_log_state), '') AS epoch
  ) AS now
);--> statement-breakpoint

-- The same for a statement that writes and returns rows: by then it may have waited for others to commit, and show their writes.
-- So this takes a snapshot of its own, when it is evaluated. The transaction itself is not listed in it as running.
CREATE FUNCTION public.cache_moment_of_write(since text) RETURNS text LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN public.cache_moment(since);
END $$;
