-- What the invalidation log and the totals do when somebody empties, repairs or blocks them by hand. Everything here names
-- its schema and sets its own search_path, as the caller's may be any.

-- PART 1: the log stays short, whatever other transactions do.

-- Forgets entries from `lowest` to below `below`, `most` of them at a call; returns how many. Snapshots from before `below`
-- can no longer be judged, and are refused, so it need not wait for transactions that are still open. `lowest` spares the
-- index entries of rows that were deleted already, which no vacuum removes while an old transaction is open.
CREATE FUNCTION public.prune_cache_log(lowest xid8, below xid8, most integer) RETURNS bigint
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
END $$;--> statement-breakpoint

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
END $$;--> statement-breakpoint

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
END $$;--> statement-breakpoint

-- PART 2: the log's own tables can be emptied by anyone at any time. A snapshot that has seen the transaction that did so
-- has seen everything that was logged before it; every older one is refused.

CREATE OR REPLACE FUNCTION public.log_everything_outdated() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY['*']);
  RETURN NULL;
END $$;--> statement-breakpoint

-- Entries that pruning has not announced have been removed.
CREATE FUNCTION public.cache_invalidations_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM old_rows WHERE xid >= coalesce((SELECT max(pruned_below) FROM public.cache_log_state), '0')) THEN
    PERFORM public.log_cache_invalidation(ARRAY['*']);
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER cache_invalidations_90_removed AFTER DELETE ON public.cache_invalidations
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.cache_invalidations_removed();--> statement-breakpoint
CREATE TRIGGER cache_invalidations_90_truncated AFTER TRUNCATE ON public.cache_invalidations
  FOR EACH STATEMENT EXECUTE FUNCTION public.log_everything_outdated();--> statement-breakpoint

-- Makes the one row of the log's state anew, if it is gone. Servers call it where triggers were disabled.
CREATE FUNCTION public.restore_cache_log_state() RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO public.cache_log_state (pruned_below) VALUES (pg_current_xact_id()) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM public.log_cache_invalidation(ARRAY['*']);
  END IF;
END $$;--> statement-breakpoint
CREATE FUNCTION public.cache_log_state_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM public.restore_cache_log_state();
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER cache_log_state_90_removed AFTER DELETE OR TRUNCATE ON public.cache_log_state
  FOR EACH STATEMENT EXECUTE FUNCTION public.cache_log_state_removed();--> statement-breakpoint

-- PART 3: totals that somebody repairs or empties.

-- The number of an organization's bots is part of its list pages.
DO $migration$
DECLARE
  operation record;
BEGIN
  FOR operation IN SELECT * FROM (VALUES
    ('insert', 'NEW TABLE AS new_rows', 'SELECT org_id FROM new_rows'),
    ('update', 'NEW TABLE AS new_rows OLD TABLE AS old_rows',
      'SELECT org_id FROM (TABLE new_rows EXCEPT TABLE old_rows) AS n UNION SELECT org_id FROM (TABLE old_rows EXCEPT TABLE new_rows) AS o'),
    ('delete', 'OLD TABLE AS old_rows', 'SELECT org_id FROM old_rows')
  ) AS o (name, transition, source) LOOP
    EXECUTE format($template$
      CREATE FUNCTION public.%1$I() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
      BEGIN
        PERFORM public.log_cache_invalidation(ARRAY(SELECT DISTINCT 'org:' || org_id FROM (%2$s) AS source));
        RETURN NULL;
      END $body$
    $template$, 'bot_counts_log_' || operation.name, operation.source);
    EXECUTE format('CREATE TRIGGER %1$I AFTER %2$s ON public.bot_counts REFERENCING %3$s FOR EACH STATEMENT EXECUTE FUNCTION public.%4$I()',
      'bot_counts_90_log_' || operation.name, operation.name, operation.transition, 'bot_counts_log_' || operation.name);
  END LOOP;
END $migration$;--> statement-breakpoint
CREATE TRIGGER bot_counts_90_log_truncate AFTER TRUNCATE ON public.bot_counts
  FOR EACH STATEMENT EXECUTE FUNCTION public.log_everything_outdated();--> statement-breakpoint

-- Counts the bots of organizations anew; of all, without an argument.
CREATE FUNCTION public.recount_organizations(ids uuid[] DEFAULT NULL) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
  INSERT INTO public.bot_counts (org_id, total)
    SELECT o.id, (SELECT count(*) FROM public.bots AS b WHERE b.org_id = o.id)
    FROM public.organizations AS o WHERE ids IS NULL OR o.id = ANY (ids) ORDER BY o.id
  ON CONFLICT (org_id) DO UPDATE SET total = excluded.total
$$;--> statement-breakpoint

-- Makes the totals of bots anew from their messages, some excepted; of all bots, without an argument. Whoever writes messages of a bot holds
-- its totals locked until they commit; where there are none yet, those who make them take turns. The revision grows by
-- more than any number of writes, because a cached value with a higher one would be taken for the newer.
CREATE FUNCTION public.recount_bots(ids uuid[] DEFAULT NULL, excepted uuid[] DEFAULT '{}') RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(id::text, 7305190416)) FROM (SELECT unnest(ids) AS id ORDER BY 1) AS wanted;
  PERFORM FROM public.bot_stats WHERE ids IS NULL OR bot_id = ANY (ids) ORDER BY bot_id FOR UPDATE;
  DELETE FROM public.conversations WHERE ids IS NULL OR bot_id = ANY (ids);
  INSERT INTO public.conversations (bot_id, conversation_id, messages)
    SELECT bot_id, conversation_id, count(*) FROM public.messages
    WHERE (ids IS NULL OR bot_id = ANY (ids)) AND id <> ALL (excepted) GROUP BY bot_id, conversation_id
  ON CONFLICT (bot_id, conversation_id) DO UPDATE SET messages = excluded.messages;
  INSERT INTO public.bot_stats AS s (bot_id, inbound, outbound, failed, outbound_delivered, outbound_failed, conversations,
      response_time_sum, response_time_count, last_message_at, revision)
    SELECT b.id,
      count(*) FILTER (WHERE m.direction = 'INBOUND'),
      count(*) FILTER (WHERE m.direction = 'OUTBOUND'),
      count(*) FILTER (WHERE m.status = 'FAILED'),
      count(*) FILTER (WHERE m.direction = 'OUTBOUND' AND m.status = 'DELIVERED'),
      count(*) FILTER (WHERE m.direction = 'OUTBOUND' AND m.status = 'FAILED'),
      count(DISTINCT m.conversation_id),
      coalesce(sum(m.response_time_ms), 0),
      count(m.response_time_ms),
      max(m.created_at),
      (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    FROM public.bots AS b LEFT JOIN public.messages AS m ON m.bot_id = b.id AND m.id <> ALL (excepted)
    WHERE ids IS NULL OR b.id = ANY (ids) GROUP BY b.id ORDER BY b.id
  ON CONFLICT (bot_id) DO UPDATE SET
    inbound = excluded.inbound, outbound = excluded.outbound, failed = excluded.failed,
    outbound_delivered = excluded.outbound_delivered, outbound_failed = excluded.outbound_failed,
    conversations = excluded.conversations, response_time_sum = excluded.response_time_sum,
    response_time_count = excluded.response_time_count, last_message_at = excluded.last_message_at,
    revision = greatest(s.revision + 1, excluded.revision);
END $$;--> statement-breakpoint

-- Totals that are removed while what they count is still there are made anew at once. Those of a bot or an organization
-- that is deleted are not: it is gone when the cascade comes here.
CREATE FUNCTION public.bot_counts_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  left_over uuid[];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM public.recount_organizations();
    RETURN NULL;
  END IF;
  left_over := ARRAY(SELECT o.id FROM old_rows JOIN public.organizations AS o ON o.id = org_id);
  IF cardinality(left_over) > 0 THEN
    PERFORM public.recount_organizations(left_over);
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER bot_counts_10_removed AFTER DELETE ON public.bot_counts
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.bot_counts_removed();--> statement-breakpoint
CREATE TRIGGER bot_counts_10_truncated AFTER TRUNCATE ON public.bot_counts
  FOR EACH STATEMENT EXECUTE FUNCTION public.bot_counts_removed();--> statement-breakpoint
CREATE FUNCTION public.bot_totals_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  left_over uuid[];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM public.recount_bots();
    RETURN NULL;
  END IF;
  left_over := ARRAY(SELECT b.id FROM old_rows JOIN public.bots AS b ON b.id = bot_id);
  IF cardinality(left_over) > 0 THEN
    PERFORM public.recount_bots(left_over);
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER bot_stats_10_removed AFTER DELETE ON public.bot_stats
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.bot_totals_removed();--> statement-breakpoint
CREATE TRIGGER bot_stats_10_truncated AFTER TRUNCATE ON public.bot_stats
  FOR EACH STATEMENT EXECUTE FUNCTION public.bot_totals_removed();--> statement-breakpoint
-- The totals count conversations rightly without these rows; the next messages would not. Whoever writes messages has locked
-- the totals and waits for this table, so the totals must not be touched here.
CREATE FUNCTION public.conversations_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO public.conversations (bot_id, conversation_id, messages)
    SELECT bot_id, conversation_id, count(*) FROM public.messages GROUP BY bot_id, conversation_id
  ON CONFLICT (bot_id, conversation_id) DO UPDATE SET messages = excluded.messages;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER conversations_10_truncated AFTER TRUNCATE ON public.conversations
  FOR EACH STATEMENT EXECUTE FUNCTION public.conversations_removed();--> statement-breakpoint

-- Where the totals of a bot are missing all the same (triggers were disabled), its next messages make them, before these
-- messages are counted. Transactions that find them missing take turns, so that each sees what the one before has made.
CREATE FUNCTION public.messages_totals_missing() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  missing uuid[];
BEGIN
  missing := ARRAY(SELECT DISTINCT n.bot_id FROM new_rows AS n
    WHERE NOT EXISTS (SELECT FROM public.bot_stats AS s WHERE s.bot_id = n.bot_id));
  IF cardinality(missing) > 0 THEN
    PERFORM pg_advisory_xact_lock(hashtextextended(id::text, 7305190416)) FROM (SELECT unnest(missing) AS id ORDER BY 1) AS m;
    missing := ARRAY(SELECT id FROM unnest(missing) AS m (id) WHERE NOT EXISTS (SELECT FROM public.bot_stats WHERE bot_id = m.id));
    IF cardinality(missing) > 0 THEN
      PERFORM public.recount_bots(missing, ARRAY(SELECT id FROM new_rows));
    END IF;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER messages_05_totals_missing AFTER INSERT ON public.messages
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION public.messages_totals_missing();--> statement-breakpoint

-- What is written with session_replication_role = replica, and by replication, which fires triggers of rows alone.
CREATE FUNCTION public.bot_counts_log_replicated() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY['org:' || coalesce(NEW.org_id, OLD.org_id), 'org:' || coalesce(OLD.org_id, NEW.org_id)]);
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER bot_counts_91_log_replicated AFTER INSERT OR UPDATE OR DELETE ON public.bot_counts FOR EACH ROW
  WHEN (current_setting('session_replication_role') = 'replica') EXECUTE FUNCTION public.bot_counts_log_replicated();--> statement-breakpoint
ALTER TABLE public.bot_counts ENABLE REPLICA TRIGGER bot_counts_91_log_replicated;--> statement-breakpoint
ALTER TABLE public.bot_counts ENABLE ALWAYS TRIGGER bot_counts_90_log_truncate;--> statement-breakpoint
ALTER TABLE public.cache_invalidations ENABLE ALWAYS TRIGGER cache_invalidations_90_removed;--> statement-breakpoint
ALTER TABLE public.cache_invalidations ENABLE ALWAYS TRIGGER cache_invalidations_90_truncated;--> statement-breakpoint
ALTER TABLE public.cache_log_state ENABLE ALWAYS TRIGGER cache_log_state_90_removed;
