-- The invalidation log: every statement that changes what the cache may hold adds one row in its own transaction, so
-- a write cannot be forgotten, whoever makes it, and cannot be lost while the write itself is kept.
-- Tags are those of src/cache/tags.ts. A statement that touches very many rows logs '*': everything.

-- Adds one row for the tags that a statement has touched; none, if it touched no row.
CREATE FUNCTION log_cache_invalidation(touched text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(touched) > 0 THEN
    INSERT INTO cache_invalidations (tags)
      VALUES (CASE WHEN cardinality(touched) > 1000 THEN ARRAY['*'] ELSE touched END);
  END IF;
END $$;--> statement-breakpoint
CREATE FUNCTION log_everything_outdated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM log_cache_invalidation(ARRAY['*']);
  RETURN NULL;
END $$;--> statement-breakpoint

-- One logging function and four triggers a table: only the expression for a row's tags differs.
DO $migration$
DECLARE
  logged record;
  operation record;
BEGIN
  FOR logged IN SELECT * FROM (VALUES
    ('bots', $$ARRAY['bot:' || id, 'org:' || org_id]$$),
    ('bot_stats', $$ARRAY['bot:' || bot_id || ':stats']$$),
    ('organizations', $$ARRAY['org:' || id]$$),
    ('users', $$ARRAY['user:' || id]$$),
    ('memberships', $$ARRAY['user:' || user_id]$$)
  ) AS t (table_name, tags) LOOP
    FOR operation IN SELECT * FROM (VALUES
      ('insert', 'NEW TABLE AS new_rows', 'SELECT * FROM new_rows'),
      ('update', 'NEW TABLE AS new_rows OLD TABLE AS old_rows', 'SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows'),
      ('delete', 'OLD TABLE AS old_rows', 'SELECT * FROM old_rows')
    ) AS o (name, transition, source) LOOP
      EXECUTE format($template$
        CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql AS $body$
        BEGIN
          PERFORM log_cache_invalidation(ARRAY(SELECT DISTINCT unnest(%2$s) FROM (%3$s) AS source));
          RETURN NULL;
        END $body$
      $template$, logged.table_name || '_log_' || operation.name, logged.tags, operation.source);
      EXECUTE format('CREATE TRIGGER %1$I AFTER %2$s ON %3$I REFERENCING %4$s FOR EACH STATEMENT EXECUTE FUNCTION %5$I()',
        logged.table_name || '_90_log_' || operation.name, operation.name, logged.table_name, operation.transition,
        logged.table_name || '_log_' || operation.name);
    END LOOP;
    EXECUTE format('CREATE TRIGGER %1$I AFTER TRUNCATE ON %2$I FOR EACH STATEMENT EXECUTE FUNCTION log_everything_outdated()',
      logged.table_name || '_90_log_truncate', logged.table_name);
  END LOOP;
END $migration$;
