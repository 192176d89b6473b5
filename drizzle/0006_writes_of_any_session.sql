-- Triggers do their work in whatever session a row is written: with any search_path, by a role that has rights on the
-- written table only, by replication, and around triggers that are switched off.

-- Whoever applies the migrations may have rights that the server's role lacks; it may still see that they were applied.
GRANT USAGE ON SCHEMA drizzle TO PUBLIC;--> statement-breakpoint
GRANT SELECT ON drizzle.__drizzle_migrations TO PUBLIC;--> statement-breakpoint

-- Functions of triggers run as their owner, and find the names in them whatever the session's search_path is. What they
-- call runs inside of them. PostgreSQL calls them from triggers only, so nobody gains rights by calling one. CREATE OR
-- REPLACE resets this; test/postgres/outside-writes.test.ts says which function has lost it.
DO $migration$
DECLARE
  called regprocedure;
BEGIN
  FOR called IN
    SELECT DISTINCT t.tgfoid::regprocedure FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
      WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
  LOOP
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp', called);
  END LOOP;
  -- The server calls these two by itself, with its own rights.
  ALTER FUNCTION public.prune_cache_invalidations(xid8) SET search_path = pg_catalog, public, pg_temp;
  ALTER FUNCTION public.keep_cache_log_short() SET search_path = pg_catalog, public, pg_temp;
  ALTER FUNCTION public.log_cache_invalidation(text[]) SET search_path = pg_catalog, public, pg_temp;
END $migration$;--> statement-breakpoint

-- Replication writes row by row, without firing triggers of statements, and with session_replication_role = replica
-- (psql may set that as well). So there each row is logged by itself. Totals are not kept there: they are rows of their
-- own (bot_counts, bot_stats, conversations), and are to be replicated as such.
-- The condition stands beside ENABLE REPLICA because pg_restore --disable-triggers leaves triggers enabled for all
-- sessions.
DO $migration$
DECLARE
  logged record;
BEGIN
  FOR logged IN SELECT * FROM (VALUES
    ('bots', $$ARRAY['bot:' || id, 'org:' || org_id]$$),
    ('bot_stats', $$ARRAY['bot:' || bot_id || ':stats']$$),
    ('organizations', $$ARRAY['org:' || id]$$),
    ('users', $$ARRAY['user:' || id]$$),
    ('memberships', $$ARRAY['user:' || user_id]$$)
  ) AS t (table_name, tags) LOOP
    EXECUTE format($template$
      CREATE FUNCTION public.%1$I() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
      AS $body$
      DECLARE
        touched text[] := '{}';
      BEGIN
        IF TG_OP <> 'DELETE' THEN
          touched := (SELECT %2$s FROM (SELECT NEW.*) AS source);
        END IF;
        IF TG_OP <> 'INSERT' THEN
          touched := touched || (SELECT %2$s FROM (SELECT OLD.*) AS source);
        END IF;
        PERFORM log_cache_invalidation(touched);
        RETURN NULL;
      END $body$
    $template$, logged.table_name || '_log_replicated', logged.tags);
    EXECUTE format($template$
      CREATE TRIGGER %1$I AFTER INSERT OR UPDATE OR DELETE ON public.%2$I FOR EACH ROW
        WHEN (current_setting('session_replication_role') = 'replica') EXECUTE FUNCTION public.%3$I()
    $template$, logged.table_name || '_91_log_replicated', logged.table_name, logged.table_name || '_log_replicated');
    EXECUTE format('ALTER TABLE public.%1$I ENABLE REPLICA TRIGGER %2$I',
      logged.table_name, logged.table_name || '_91_log_replicated');
    EXECUTE format('ALTER TABLE public.%1$I ENABLE ALWAYS TRIGGER %2$I',
      logged.table_name, logged.table_name || '_90_log_truncate');
  END LOOP;
END $migration$;--> statement-breakpoint

-- A table that is altered may have been rewritten (ALTER COLUMN … TYPE … USING), or filled while its triggers were
-- switched off (pg_restore --disable-triggers). Neither fires a trigger of the table, so everything is logged as outdated.
-- Only superusers may do the latter, and only they may make an event trigger.
CREATE FUNCTION public.log_altered_table() RETURNS event_trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM pg_event_trigger_ddl_commands() AS altered
      JOIN pg_trigger AS t ON t.tgrelid = altered.objid AND t.tgname LIKE '%\_90\_log\_%'
  ) THEN
    PERFORM log_cache_invalidation(ARRAY['*']);
  END IF;
END $$;--> statement-breakpoint
DO $migration$
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    CREATE EVENT TRIGGER flovo_log_altered_table ON ddl_command_end WHEN TAG IN ('ALTER TABLE')
      EXECUTE FUNCTION public.log_altered_table();
  END IF;
END $migration$;
