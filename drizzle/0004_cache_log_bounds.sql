CREATE TABLE "cache_log_horizons" (
	"taken_at" timestamp with time zone PRIMARY KEY NOT NULL,
	"snapshot" "pg_snapshot" NOT NULL
);
--> statement-breakpoint
CREATE TABLE "cache_log_state" (
	"single" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"pruned_below" "xid8" NOT NULL,
	CONSTRAINT "cache_log_state_single" CHECK ("cache_log_state"."single")
);
--> statement-breakpoint
INSERT INTO cache_log_state (pruned_below) VALUES ('0');--> statement-breakpoint

-- Forgets entries below a transaction id, a bounded number a call. Who judges a cached value first looks at
-- pruned_below, in the same snapshot, so an entry can be dropped at any time without an outdated value being accepted:
-- values read under a snapshot that old are refused.
CREATE FUNCTION prune_cache_invalidations(below xid8) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  removed bigint;
BEGIN
  UPDATE cache_log_state SET pruned_below = below WHERE pruned_below < below;
  DELETE FROM cache_invalidations WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM cache_invalidations WHERE xid < below ORDER BY xid LIMIT 50000));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;--> statement-breakpoint

-- Keeps the log short where no server does it: now and then a writer takes a snapshot, and cuts the log below one
-- that is older than any cached value may live. One writer at a time; the others do not wait.
CREATE FUNCTION keep_cache_log_short() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  horizon cache_log_horizons;
BEGIN
  -- A transaction that reads under one snapshot would fail here, if a server has cut the log since.
  IF current_setting('transaction_isolation') <> 'read committed' OR NOT pg_try_advisory_xact_lock(7305190414) THEN
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT 1 FROM cache_log_horizons WHERE taken_at > clock_timestamp() - interval '1 minute') THEN
    INSERT INTO cache_log_horizons (taken_at, snapshot) VALUES (clock_timestamp(), pg_current_snapshot());
  END IF;
  SELECT * INTO horizon FROM cache_log_horizons
    WHERE taken_at < clock_timestamp() - interval '11 minutes' ORDER BY taken_at DESC LIMIT 1;
  IF FOUND THEN
    PERFORM prune_cache_invalidations(pg_snapshot_xmin(horizon.snapshot));
    DELETE FROM cache_log_horizons WHERE taken_at < horizon.taken_at;
  END IF;
END $$;--> statement-breakpoint

CREATE OR REPLACE FUNCTION log_cache_invalidation(touched text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(touched) > 0 THEN
    INSERT INTO cache_invalidations (tags)
      VALUES (CASE WHEN cardinality(touched) > 1000 THEN ARRAY['*'] ELSE touched END);
    IF random() < 0.005 THEN
      PERFORM keep_cache_log_short();
    END IF;
  END IF;
END $$;
