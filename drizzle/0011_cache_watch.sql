-- One function puts a table under watch of the invalidation log, instead of functions and triggers written for each table. It is
-- part 3 of src/cache/postgres/schema.sql, by which other servers install the same log.

-- How the names of a watched table's triggers and functions begin: `bots_90_log_insert`, `bots_log_insert`. They stay when the
-- table is renamed. A table in "public" gives its own name, if that is short enough and free; others get a digest.
CREATE FUNCTION public.cache_watch_name(watched regclass) RETURNS text
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
END $$;--> statement-breakpoint

-- The body of a function that logs the tags of what a statement has written. Rows of an update that were not changed are left out:
-- their images are compared (`*=`), because values that are equal, such as two spellings in a collation that ignores case, need not
-- be the same. PostgreSQL collects the rows before and after an update in the same order. Columns go before variables of plpgsql
-- that have the same name, and the line break after the tags ends a comment in them.
CREATE FUNCTION public.cache_watch_body(operation text, tags text) RETURNS text
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
$$;--> statement-breakpoint

-- Puts a table under watch: from the end of this transaction on, every statement that writes the table logs the tags of each row
-- that it inserts, deletes or changes, those of the row before and those of the row after. Called again, it replaces the tags.
--
--   SELECT cache_watch('bots', $$ARRAY['bot:' || id, 'org:' || org_id]$$);
--
-- @param tags an SQL expression over the columns of a row that gives text[]; elements that are NULL are left out. It is evaluated
--   with the rights of who calls this function.
-- A table that is watched in this way already is not locked; otherwise its writers wait, and all that is cached is refused once.
CREATE FUNCTION public.cache_watch(watched regclass, tags text) RETURNS void
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
END $$;--> statement-breakpoint

-- Ends the watch of a table. What is cached of it is not invalidated by writes any more.
CREATE FUNCTION public.cache_unwatch(watched regclass) RETURNS void
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
END $$;--> statement-breakpoint

-- All tables at once, in the order in which writers lock them, so that none waits for a writer who waits for this.
LOCK TABLE public.organizations, public.users, public.memberships, public.bots, public.bot_counts, public.bot_stats
  IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint

-- The tags are those of the releases before, with one more: a user that is written by replication, or with
-- session_replication_role = replica, logs the subject as well (0008 had left that to statements).
SELECT public.cache_watch('public.organizations', $$ARRAY['org:' || id]$$);--> statement-breakpoint
SELECT public.cache_watch('public.users', $$ARRAY['user:' || id, 'subject:' || encode(sha256(convert_to(subject, 'UTF8')), 'hex')]$$);--> statement-breakpoint
SELECT public.cache_watch('public.memberships', $$ARRAY['user:' || user_id]$$);--> statement-breakpoint
SELECT public.cache_watch('public.bots', $$ARRAY['bot:' || id, 'org:' || org_id]$$);--> statement-breakpoint
SELECT public.cache_watch('public.bot_counts', $$ARRAY['org:' || org_id]$$);--> statement-breakpoint
-- Every change of a bot's totals may change its organization's, and one entry says both. organization_totals keeps its own triggers
-- (0010), which log only what is done to it directly: they have a condition, and a message adds one row to the log.
SELECT public.cache_watch('public.bot_stats', $$ARRAY['bot:' || bot_id || ':stats', 'org:' || org_id || ':stats']$$);
