-- A user may be known to the identity provider by a name of its own (`auth0|…`, a number). A provider that names users by
-- uuids needs no such column: the uuid is the user's id.
ALTER TABLE "users" ADD COLUMN "subject" text;--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_subject_unique" UNIQUE("subject");--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_subject_length" CHECK (char_length("users"."subject") between 1 and 255);--> statement-breakpoint
ALTER TABLE "users" ADD CONSTRAINT "users_subject_is_no_uuid" CHECK ("users"."subject" !~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$');--> statement-breakpoint

-- Who a subject is, is cached as well, under a tag of its own: both the subject that a user had and the one they have now
-- are logged. The digest is that of src/access/subject.resource.ts.
DO $migration$
DECLARE
  operation record;
BEGIN
  FOR operation IN SELECT * FROM (VALUES
    ('insert', 'SELECT * FROM new_rows'),
    ('update', 'SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows'),
    ('delete', 'SELECT * FROM old_rows')
  ) AS o (name, source) LOOP
    EXECUTE format($template$
      CREATE OR REPLACE FUNCTION public.%1$I() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
      BEGIN
        PERFORM log_cache_invalidation(ARRAY(
          SELECT 'user:' || id FROM (%2$s) AS source
          UNION
          SELECT 'subject:' || encode(sha256(convert_to(subject, 'UTF8')), 'hex') FROM (%2$s) AS source
            WHERE subject IS NOT NULL));
        RETURN NULL;
      END $body$
    $template$, 'users_log_' || operation.name, operation.source);
  END LOOP;
END $migration$;--> statement-breakpoint

-- Transaction ids mean nothing in another database: neither those in the log nor those in the snapshots of cached values.
-- So every snapshot names the epoch of the database that it was taken in, and a database that was restored or moved begins
-- a new one, which refuses all that was cached before.
ALTER TABLE "cache_log_state" ADD COLUMN "epoch" text DEFAULT left(md5(gen_random_uuid()::text), 12) NOT NULL;--> statement-breakpoint
ALTER TABLE "cache_log_state" ADD COLUMN "database" text DEFAULT '' NOT NULL;--> statement-breakpoint

-- Names the database that this one is: another after a restore into another cluster, database or table, and after a
-- failover or a point-in-time recovery (the timeline), where transaction ids are given a second time. Its owner's rights
-- make the name the same for every caller. A service that does not let its users ask gets a shorter name.
CREATE FUNCTION public.cache_database() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, public AS $$
DECLARE
  place constant text := (SELECT oid FROM pg_database WHERE datname = current_database())
    || '/' || 'public.cache_log_state'::regclass::oid;
BEGIN
  RETURN (SELECT system_identifier FROM pg_control_system()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    || '/' || place;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_function THEN
  RETURN place;
END $$;--> statement-breakpoint

-- Whether the log was written by this database: no entry in it is visible that only a later transaction can have written.
CREATE FUNCTION public.cache_log_is_own() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
  SELECT pg_is_in_recovery() OR coalesce((
    SELECT database = cache_database() AND pruned_below <= pg_snapshot_xmax(pg_current_snapshot()) FROM cache_log_state
  ), false) AND NOT EXISTS (
    SELECT 1 FROM cache_invalidations WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())
  )
$$;--> statement-breakpoint

-- Begins a new epoch with an empty log, if the log is not this database's own, or if the epoch is still `outdated`. Returns
-- whether it did. Every snapshot that names the new epoch has seen this transaction, so that the entries from before it are
-- needed by nobody; writes that are still under way keep theirs. Servers that know of no epochs are told by '*'.
CREATE FUNCTION public.renew_cache_epoch(outdated text DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql
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
END $$;--> statement-breakpoint
UPDATE cache_log_state SET database = cache_database();
