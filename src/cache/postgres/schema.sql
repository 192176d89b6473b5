-- The cache's half in PostgreSQL: the log of what has been written, and functions that put tables under watch.
--
-- Apply it with installCache() or `psql -1 -f schema.sql`, as often as you like: what is there already stays. It ends in the
-- same state as the migrations in drizzle/, whose history explains the parts; a test compares the two. All of it lives in the
-- schema "public". Every function names the schema of what it uses and sets its own search_path, as the caller's may be any.

-- Programs that install at the same time take turns.
SELECT pg_advisory_xact_lock(7305190417);

-- PART 1: tables. A process that watches the log reads them all the time, so nothing here locks what exists.

DO $install$
BEGIN
  IF to_regclass('public.cache_invalidations') IS NULL THEN
    -- One row for each statement that changed what the cache may hold, written in its own transaction: a write cannot be
    -- forgotten, whoever makes it, and its row cannot be lost while the write is kept.
    CREATE TABLE public.cache_invalidations (
      xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
      tags text[] NOT NULL,
      logged_at timestamp with time zone NOT NULL DEFAULT clock_timestamp()
    );
    CREATE INDEX cache_invalidations_xid_idx ON public.cache_invalidations USING btree (xid);
  END IF;
  IF to_regclass('public.cache_log_horizons') IS NULL THEN
    -- Snapshots taken now and then, so that the log can be cut by what they have seen instead of by clocks alone.
    CREATE TABLE public.cache_log_horizons (
      taken_at timestamp with time zone PRIMARY KEY,
      snapshot pg_snapshot NOT NULL
    );
  END IF;
  IF to_regclass('public.cache_log_state') IS NULL THEN
    -- One row. Entries of the log below `pruned_below` may be gone, so snapshots from before it are refused. The epoch is part
    -- of every snapshot, and belongs to the database that `database` names.
    CREATE TABLE public.cache_log_state (
      single boolean PRIMARY KEY DEFAULT true CONSTRAINT cache_log_state_single CHECK (single),
      pruned_below xid8 NOT NULL,
      epoch text NOT NULL DEFAULT left(md5(gen_random_uuid()::text), 12),
      database text NOT NULL DEFAULT ''
    );
  END IF;
END $install$;

-- PART 2: the log.

-- Keeps the log short where no server does it: now and then a writer notes a snapshot, and removes what one of 20 minutes
-- ago had seen (servers keep 11 minutes). It waits for no lock, and takes none that anybody waits for: a writer may stay
-- open for days. The trigger on the log says to servers that may come that everything is outdated.
CREATE OR REPLACE FUNCTION public.keep_cache_log_short() RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  horizon public.cache_log_horizons;
  lowest xid8;
  removed bigint;
BEGIN
  -- A transaction that reads under one snapshot would fail on rows that a server has removed since.
  IF current_setting('transaction_isolation') <> 'read committed'
    OR EXISTS (SELECT FROM public.cache_log_horizons WHERE taken_at > clock_timestamp() - interval '1 minute') THEN
    RETURN;
  END IF;
  INSERT INTO public.cache_log_horizons (taken_at, snapshot) VALUES (clock_timestamp(), pg_current_snapshot())
    ON CONFLICT DO NOTHING;
  SELECT * INTO horizon FROM public.cache_log_horizons
    WHERE taken_at < clock_timestamp() - interval '20 minutes' ORDER BY taken_at DESC LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT coalesce(min(pg_snapshot_xmin(snapshot)::text::numeric)::text::xid8, '0') INTO lowest
    FROM public.cache_log_horizons WHERE taken_at < horizon.taken_at;
  DELETE FROM public.cache_invalidations WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM public.cache_invalidations
    WHERE xid >= lowest AND xid < pg_snapshot_xmax(horizon.snapshot)
    ORDER BY xid LIMIT 100000 FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  IF removed < 100000 THEN
    DELETE FROM public.cache_log_horizons WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM public.cache_log_horizons WHERE taken_at < horizon.taken_at FOR UPDATE SKIP LOCKED));
  END IF;
END $$;

CREATE OR REPLACE FUNCTION public.log_cache_invalidation(touched text[]) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF cardinality(touched) > 0 THEN
    INSERT INTO public.cache_invalidations (tags)
      VALUES (CASE WHEN cardinality(touched) > 1000 THEN ARRAY['*'] ELSE touched END);
    IF random() < 0.005 THEN
      PERFORM public.keep_cache_log_short();
    END IF;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION public.log_everything_outdated() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY['*']);
  RETURN NULL;
END $$;

-- Forgets entries from `lowest` to below `below`, `most` of them at a call; returns how many. Snapshots from before `below`
-- can no longer be judged, and are refused, so it need not wait for transactions that are still open. `lowest` spares the
-- index entries of rows that were deleted already, which no vacuum removes while an old transaction is open.
CREATE OR REPLACE FUNCTION public.prune_cache_log(lowest xid8, below xid8, most integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  removed bigint;
BEGIN
  UPDATE public.cache_log_state SET pruned_below = below WHERE pruned_below < below;
  DELETE FROM public.cache_invalidations WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM public.cache_invalidations WHERE xid >= lowest AND xid < below
    ORDER BY xid LIMIT most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;

-- Entries that pruning has not announced have been removed.
CREATE OR REPLACE FUNCTION public.cache_invalidations_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM old_rows WHERE xid >= coalesce((SELECT max(pruned_below) FROM public.cache_log_state), '0')) THEN
    PERFORM public.log_cache_invalidation(ARRAY['*']);
  END IF;
  RETURN NULL;
END $$;

-- Makes the one row of the log's state anew, if it is gone. Servers call it where triggers were disabled.
CREATE OR REPLACE FUNCTION public.restore_cache_log_state() RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO public.cache_log_state (pruned_below) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM public.log_cache_invalidation(ARRAY['*']);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION public.cache_log_state_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM public.restore_cache_log_state();
  RETURN NULL;
END $$;

-- Names the database that this one is: another after a restore into another cluster, database or table, and after a
-- failover or a point-in-time recovery (the timeline), where transaction ids are given a second time. Its owner's rights
-- make the name the same for every caller. A service that does not let its users ask gets a shorter name.
CREATE OR REPLACE FUNCTION public.cache_database() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, public AS $$
DECLARE
  place constant text := (SELECT oid FROM pg_database WHERE datname = current_database())
    || '/' || 'public.cache_log_state'::regclass::oid;
BEGIN
  RETURN (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    || '/' || place;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
  RETURN place;
END $$;

-- Whether the log was written by this database: no entry in it is visible that only a later transaction can have written.
CREATE OR REPLACE FUNCTION public.cache_log_is_own() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  SELECT pg_is_in_recovery() OR coalesce((
    SELECT database = cache_database() AND pruned_below <= pg_snapshot_xmax(pg_current_snapshot()) FROM cache_log_state
  ), false) AND NOT EXISTS (
    SELECT 1 FROM cache_invalidations WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())
  )
$$;

-- Begins a new epoch with an empty log, if the log is not this database's own, or if the epoch is still `outdated`. Returns
-- whether it did. Every snapshot that names the new epoch has seen this transaction, so that the entries from before it are
-- needed by nobody; writes that are still under way keep theirs. Servers that know of no epochs are told by '*'.
CREATE OR REPLACE FUNCTION public.renew_cache_epoch(outdated text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  removed bigint;
BEGIN
  -- Processes that find out together take turns; the later ones find it done.
  PERFORM pg_advisory_xact_lock(7305190416);
  INSERT INTO cache_log_state (pruned_below) SELECT '0' WHERE NOT EXISTS (SELECT 1 FROM cache_log_state);
  UPDATE cache_log_state SET epoch = DEFAULT, database = cache_database(), pruned_below = '0'
    WHERE epoch = outdated OR NOT cache_log_is_own();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  DELETE FROM cache_invalidations;
  GET DIAGNOSTICS removed = ROW_COUNT;
  DELETE FROM cache_log_horizons;
  IF removed > 0 THEN
    INSERT INTO cache_invalidations (tags) VALUES (ARRAY['*']);
  END IF;
  RETURN true;
END $$;

-- A table that is altered may have been rewritten (ALTER COLUMN … TYPE … USING), or filled while its triggers were
-- switched off (pg_restore --disable-triggers). Neither fires a trigger of the table, so everything is logged as outdated.
-- Only superusers may do the latter, and only they may make an event trigger.
CREATE OR REPLACE FUNCTION public.log_altered_table() RETURNS event_trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM pg_event_trigger_ddl_commands() AS altered
      JOIN pg_trigger AS t ON t.tgrelid = altered.objid AND t.tgname LIKE '%\_90\_log\_%'
  ) THEN
    PERFORM log_cache_invalidation(ARRAY['*']);
  END IF;
END $$;

-- The moment at which a statement sees the database: its snapshot, `@`, the epoch of the database, and a blank with the entries
-- of the log that this snapshot has seen and `since` has not: `795:797:795@5f2c9e01a7b3 [[796,["bot:7f3c…"]]]`. `since` is such a
-- snapshot with its epoch. Instead of many entries, or if `since` is of another epoch, it gives ` *`: read the log. Without
-- `since` (null or empty) it gives the snapshot and the epoch alone.
--
--   SELECT (SELECT cache_moment($1)) AS snapshot, bots.* FROM bots WHERE id = $2
CREATE OR REPLACE FUNCTION public.cache_moment(since text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
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
);

-- The same for a statement that writes and returns rows: by then it may have waited for others to commit, and show their writes.
-- So this takes a snapshot of its own, when it is evaluated. The transaction itself is not listed in it as running.
CREATE OR REPLACE FUNCTION public.cache_moment_of_write(since text) RETURNS text LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  RETURN public.cache_moment(since);
END $$;

DO $install$
DECLARE
  wanted record;
BEGIN
  FOR wanted IN SELECT * FROM (VALUES
    ('cache_invalidations', 'cache_invalidations_90_removed', 'DELETE', 'REFERENCING OLD TABLE AS old_rows',
      'cache_invalidations_removed'),
    ('cache_invalidations', 'cache_invalidations_90_truncated', 'TRUNCATE', '', 'log_everything_outdated'),
    ('cache_log_state', 'cache_log_state_90_removed', 'DELETE OR TRUNCATE', '', 'cache_log_state_removed')
  ) AS t (table_name, name, events, transition, function_name) LOOP
    IF NOT EXISTS (SELECT FROM pg_trigger
      WHERE tgrelid = ('public.' || wanted.table_name)::regclass AND tgname = wanted.name) THEN
      EXECUTE format('CREATE TRIGGER %I AFTER %s ON public.%I %s FOR EACH STATEMENT EXECUTE FUNCTION public.%I()',
        wanted.name, wanted.events, wanted.table_name, wanted.transition, wanted.function_name);
      EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER %I', wanted.table_name, wanted.name);
    END IF;
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'flovo_log_altered_table')
    AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    CREATE EVENT TRIGGER flovo_log_altered_table ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
      EXECUTE FUNCTION public.log_altered_table();
  END IF;
  IF NOT EXISTS (SELECT FROM public.cache_log_state) THEN
    INSERT INTO public.cache_log_state (pruned_below, database) VALUES ('0', public.cache_database());
  END IF;
END $install$;

-- PART 3: tables under watch.

-- How the names of a watched table's triggers and functions begin: `bots_90_log_insert`, `bots_log_insert`. They stay when the
-- table is renamed. A table in "public" gives its own name, if that is short enough and free; others get a digest.
CREATE OR REPLACE FUNCTION public.cache_watch_name(watched regclass) RETURNS text
  LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  -- An identifier has at most 63 bytes, and the longest ending is "_91_log_replicated".
  max_bytes constant integer := 63 - 18;
  -- A character has at most 4 bytes, and the digest takes 9.
  max_characters constant integer := (63 - 18 - 9) / 4;
  table_name text;
  place text;
  name text;
  attempt integer := 0;
BEGIN
  SELECT left(tgname, -length('_90_log_truncate')) INTO name FROM pg_trigger
    WHERE tgrelid = watched AND tgfoid = 'public.log_everything_outdated()'::regprocedure
      AND tgname LIKE '%\_90\_log\_truncate';
  IF FOUND THEN
    RETURN name;
  END IF;
  SELECT c.relname, n.nspname || '.' || c.relname INTO table_name, place
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = watched;
  IF place = 'public.' || table_name AND octet_length(table_name) <= max_bytes THEN
    name := table_name;
  END IF;
  -- A function of this name may belong to a table that was renamed since, or to the application.
  WHILE name IS NULL OR EXISTS (
    SELECT FROM unnest(ARRAY['insert', 'update', 'delete', 'replicated']) AS ending
      JOIN pg_proc AS p ON p.proname = name || '_log_' || ending
      WHERE p.pronamespace = 'public'::regnamespace AND p.pronargs = 0
        AND (strpos(p.prosrc, 'log_cache_invalidation') = 0
          OR EXISTS (SELECT FROM pg_trigger WHERE tgfoid = p.oid AND tgrelid <> watched))
  ) LOOP
    name := left(table_name, max_characters) || '_' || left(md5(place || attempt), 8);
    attempt := attempt + 1;
  END LOOP;
  RETURN name;
END $$;

-- The body of a function that logs the tags of what a statement has written. Rows of an update that were not changed are left out:
-- their images are compared (`*=`), because values that are equal, such as two spellings in a collation that ignores case, need not
-- be the same. PostgreSQL collects the rows before and after an update in the same order. Columns go before variables of plpgsql
-- that have the same name, and the line break after the tags ends a comment in them.
CREATE OR REPLACE FUNCTION public.cache_watch_body(operation text, tags text) RETURNS text
  LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT replace(CASE operation
    WHEN 'update' THEN $body$
#variable_conflict use_column
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY(
    SELECT DISTINCT tag FROM (
      SELECT unnest(n.tags || o.tags) AS tag FROM (
        SELECT row_number() OVER () AS position, ROW(source.*) AS image, ({tags}
) AS tags FROM new_rows AS source
      ) AS n FULL JOIN (
        SELECT row_number() OVER () AS position, ROW(source.*) AS image, ({tags}
) AS tags FROM old_rows AS source
      ) AS o USING (position) WHERE (n.image *= o.image) IS NOT TRUE
    ) AS touched WHERE tag IS NOT NULL ORDER BY tag));
  RETURN NULL;
END $body$
    WHEN 'replicated' THEN $body$
#variable_conflict use_column
DECLARE
  touched text[] := '{}';
BEGIN
  IF TG_OP <> 'DELETE' THEN
    touched := (SELECT ({tags}
) FROM (SELECT NEW.*) AS source);
  END IF;
  IF TG_OP <> 'INSERT' THEN
    touched := touched || (SELECT ({tags}
) FROM (SELECT OLD.*) AS source);
  END IF;
  PERFORM public.log_cache_invalidation(ARRAY(SELECT DISTINCT tag FROM unnest(touched) AS tag WHERE tag IS NOT NULL ORDER BY tag));
  RETURN NULL;
END $body$
    ELSE replace($body$
#variable_conflict use_column
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY(
    SELECT DISTINCT tag FROM (SELECT unnest({tags}
) AS tag FROM {rows} AS source) AS touched WHERE tag IS NOT NULL ORDER BY tag));
  RETURN NULL;
END $body$, '{rows}', CASE operation WHEN 'insert' THEN 'new_rows' ELSE 'old_rows' END)
  END, '{tags}', tags)
$$;

-- Puts a table under watch: from the end of this transaction on, every statement that writes the table logs the tags of each row
-- that it inserts, deletes or changes, those of the row before and those of the row after. Called again, it replaces the tags.
--
--   SELECT cache_watch('bots', $$ARRAY['bot:' || id, 'org:' || org_id]$$);
--
-- @param tags an SQL expression over the columns of a row that gives text[]; elements that are NULL are left out. It is evaluated
--   with the rights of who calls this function.
-- A table that is watched in this way already is not locked; otherwise its writers wait, and all that is cached is refused once.
CREATE OR REPLACE FUNCTION public.cache_watch(watched regclass, tags text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  place text;
  name text;
  columns text;
  tags_type regtype;
  is_locked boolean := false;
  part record;
BEGIN
  SELECT format('%I.%I', n.nspname, c.relname) INTO place
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = watched AND c.relkind IN ('r', 'p');
  IF place IS NULL OR place IN ('public.cache_invalidations', 'public.cache_log_state', 'public.cache_log_horizons') THEN
    RAISE EXCEPTION 'cache_watch: % cannot be watched; only tables can, and those of the cache itself cannot', watched
      USING ERRCODE = 'wrong_object_type';
  END IF;
  -- Here a mistake is told; in a trigger it would make every write fail. No row is read. Aggregates cannot stand beside a row, and
  -- functions that return sets not in CASE.
  SELECT string_agg(quote_ident(attname), ', ') INTO columns FROM pg_attribute
    WHERE attrelid = watched AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v';
  BEGIN
    EXECUTE format(E'SELECT pg_typeof((SELECT tags FROM (
      SELECT ROW(source.*), CASE WHEN true THEN (%s\n) END AS tags FROM (SELECT %s FROM %s LIMIT 0) AS source
    ) AS none))', tags, columns, place) INTO tags_type;
  EXCEPTION WHEN syntax_error_or_access_rule_violation OR feature_not_supported THEN
    RAISE EXCEPTION 'cache_watch: the tags of % cannot be computed: %', watched, SQLERRM USING ERRCODE = SQLSTATE,
      HINT = 'Virtual generated columns are NULL in triggers: use the columns that they are computed from.';
  END;
  IF tags_type IS DISTINCT FROM 'text[]'::regtype THEN
    RAISE EXCEPTION 'cache_watch: the tags of % must be of type text[], not %', watched, coalesce(tags_type::text, 'unknown')
      USING ERRCODE = 'datatype_mismatch';
  END IF;

  PERFORM pg_advisory_xact_lock(7305190418);
  name := public.cache_watch_name(watched);
  FOR part IN
    SELECT t.*, (existing.tgfoid = p.oid) IS NOT TRUE AS is_missing,
      existing.tgenabled IS DISTINCT FROM t.enabled AND existing.tgenabled IS DISTINCT FROM 'A' AS is_disabled,
      NOT t.is_shared AND p.prosrc IS DISTINCT FROM t.body AS is_outdated
    FROM (
      SELECT o.*, name || o.infix || o.operation AS trigger_name, o.shared IS NOT NULL AS is_shared,
        coalesce(o.shared, name || '_log_' || o.operation) AS function_name, public.cache_watch_body(o.operation, tags) AS body
      FROM (VALUES
        ('insert', '_90_log_', 'INSERT', 'REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT', 'O'::"char", NULL),
        ('update', '_90_log_', 'UPDATE', 'REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows FOR EACH STATEMENT', 'O', NULL),
        ('delete', '_90_log_', 'DELETE', 'REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT', 'O', NULL),
        ('truncate', '_90_log_', 'TRUNCATE', 'FOR EACH STATEMENT', 'A', 'log_everything_outdated'),
        -- Replication fires triggers of rows alone. The condition holds where pg_restore has enabled the trigger for all.
        ('replicated', '_91_log_', 'INSERT OR UPDATE OR DELETE',
          $when$FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')$when$, 'R', NULL)
      ) AS o (operation, infix, events, scope, enabled, shared)
    ) AS t
    LEFT JOIN pg_trigger AS existing ON existing.tgrelid = watched AND existing.tgname = t.trigger_name
    LEFT JOIN pg_proc AS p ON p.oid = to_regprocedure(format('public.%I()', t.function_name))
  LOOP
    CONTINUE WHEN NOT (part.is_missing OR part.is_disabled OR part.is_outdated);
    -- Who has begun to write logs the tags as they were, and is waited for; who comes later logs the new ones.
    IF NOT is_locked THEN
      EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', place);
      is_locked := true;
    END IF;
    IF part.is_outdated THEN
      EXECUTE format('CREATE OR REPLACE FUNCTION public.%I() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS %L', part.function_name, part.body);
    END IF;
    IF part.is_missing THEN
      EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s %s EXECUTE FUNCTION public.%I()',
        part.trigger_name, part.events, place, part.scope, part.function_name);
    END IF;
    IF part.enabled = 'R' AND (part.is_disabled OR part.is_missing) THEN
      EXECUTE format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', place, part.trigger_name);
    ELSIF part.enabled = 'A' AND (part.is_disabled OR part.is_missing) THEN
      EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', place, part.trigger_name);
    ELSIF part.is_disabled AND NOT part.is_missing THEN
      EXECUTE format('ALTER TABLE %s ENABLE TRIGGER %I', place, part.trigger_name);
    END IF;
  END LOOP;
  IF is_locked THEN
    PERFORM public.log_cache_invalidation(ARRAY['*']);
  END IF;
END $$;

-- Ends the watch of a table. What is cached of it is not invalidated by writes any more.
CREATE OR REPLACE FUNCTION public.cache_unwatch(watched regclass) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  name constant text := public.cache_watch_name(watched);
  part record;
BEGIN
  PERFORM pg_advisory_xact_lock(7305190418);
  FOR part IN
    SELECT t.tgname, t.tgfoid::regprocedure AS function_name, t.tgfoid = 'public.log_everything_outdated()'::regprocedure AS is_shared,
      format('%I.%I', n.nspname, c.relname) AS place
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.tgrelid = watched AND t.tgname = ANY (ARRAY[name || '_90_log_insert', name || '_90_log_update',
      name || '_90_log_delete', name || '_90_log_truncate', name || '_91_log_replicated'])
  LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', part.tgname, part.place);
    IF NOT part.is_shared THEN
      EXECUTE format('DROP FUNCTION %s', part.function_name);
    END IF;
  END LOOP;
END $$;
