-- Totals of organizations, kept by triggers as those of bots are: they follow every change of `bots` and `bot_stats`, whoever
-- makes it. A message therefore changes one more row. The rows of one organization's bots are spread over 64 shards, so that
-- writers of different bots seldom wait for each other; its totals are the sums of its shards. How many bots it has is in
-- `bot_counts`.
--
-- Statistics cannot be read, and bots and messages cannot be written, while this runs (1,000,000 bots: about 10 s).

-- In the order in which writers lock them.
LOCK TABLE public.organizations, public.bots, public.bot_counts IN SHARE ROW EXCLUSIVE MODE;--> statement-breakpoint
LOCK TABLE public.bot_stats IN ACCESS EXCLUSIVE MODE;--> statement-breakpoint

-- The shard of a bot. The last byte is random in every kind of id that is in use.
CREATE FUNCTION public.organization_shard(bot_id uuid) RETURNS smallint
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN (get_byte(uuid_send(bot_id), 15) & 63)::smallint;--> statement-breakpoint
CREATE TABLE "organization_totals" (
	"org_id" uuid NOT NULL,
	"shard" smallint NOT NULL,
	"running_bots" bigint DEFAULT 0 NOT NULL,
	"total_messages" numeric DEFAULT 0 NOT NULL,
	"failed_messages" numeric DEFAULT 0 NOT NULL,
	"last_message_at" timestamp with time zone,
	CONSTRAINT "organization_totals_org_id_shard_pk" PRIMARY KEY("org_id","shard")
) WITH (fillfactor = 60);
--> statement-breakpoint
ALTER TABLE "organization_totals" ADD CONSTRAINT "organization_totals_org_id_organizations_id_fk" FOREIGN KEY ("org_id") REFERENCES "public"."organizations"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint

-- PART 1: the totals of a bot name its organization, because they are deleted after the bot is.

ALTER TABLE "bot_stats" ADD COLUMN "org_id" uuid;--> statement-breakpoint
DROP TRIGGER bot_stats_90_log_update ON public.bot_stats;--> statement-breakpoint
UPDATE public.bot_stats AS s SET org_id = b.org_id FROM public.bots AS b WHERE b.id = s.bot_id;--> statement-breakpoint
ALTER TABLE "bot_stats" ALTER COLUMN "org_id" SET NOT NULL;--> statement-breakpoint
CREATE INDEX "bot_stats_shard_idx" ON "bot_stats" USING btree ("org_id",organization_shard("bot_id"));--> statement-breakpoint

-- For rows from whoever does not know of the column.
CREATE FUNCTION public.bot_stats_find_organization() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  NEW.org_id := (SELECT org_id FROM public.bots WHERE id = NEW.bot_id);
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER bot_stats_10_organization BEFORE INSERT ON public.bot_stats FOR EACH ROW
  WHEN (NEW.org_id IS NULL) EXECUTE FUNCTION public.bot_stats_find_organization();--> statement-breakpoint
ALTER TABLE public.bot_stats ENABLE ALWAYS TRIGGER bot_stats_10_organization;--> statement-breakpoint

-- As before, with the organization of the totals.
CREATE OR REPLACE FUNCTION public.bots_keep_totals() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO public.bot_counts AS c (org_id, total)
      SELECT org_id, count(*) FROM new_rows GROUP BY org_id ORDER BY org_id
      ON CONFLICT (org_id) DO UPDATE SET total = c.total + excluded.total;
    INSERT INTO public.bot_stats (bot_id, org_id) SELECT id, org_id FROM new_rows;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM 1 FROM public.bot_counts WHERE org_id IN (SELECT org_id FROM old_rows) ORDER BY org_id FOR UPDATE;
    UPDATE public.bot_counts AS c SET total = c.total - d.removed
      FROM (SELECT org_id, count(*) AS removed FROM old_rows GROUP BY org_id) AS d
      WHERE c.org_id = d.org_id;
  ELSIF TG_OP = 'UPDATE' THEN
    IF EXISTS (SELECT 1 FROM new_rows n JOIN old_rows o USING (id) WHERE n.org_id <> o.org_id) THEN
      INSERT INTO public.bot_counts AS c (org_id, total)
        SELECT org_id, sum(n) FROM (
          SELECT org_id, 1 AS n FROM new_rows UNION ALL SELECT org_id, -1 FROM old_rows
        ) AS moves GROUP BY org_id HAVING sum(n) <> 0 ORDER BY org_id
        ON CONFLICT (org_id) DO UPDATE SET total = c.total + excluded.total;
      PERFORM 1 FROM public.bot_stats WHERE bot_id IN (SELECT id FROM new_rows) ORDER BY bot_id FOR UPDATE;
      UPDATE public.bot_stats AS s SET org_id = n.org_id FROM new_rows AS n WHERE n.id = s.bot_id AND n.org_id <> s.org_id;
    END IF;
  ELSE
    UPDATE public.bot_counts SET total = 0 WHERE total <> 0;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE OR REPLACE FUNCTION public.recount_bots(ids uuid[] DEFAULT NULL, excepted uuid[] DEFAULT '{}') RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(id::text, 7305190416)) FROM (SELECT unnest(ids) AS id ORDER BY 1) AS wanted;
  PERFORM FROM public.bot_stats WHERE ids IS NULL OR bot_id = ANY (ids) ORDER BY bot_id FOR UPDATE;
  DELETE FROM public.conversations WHERE ids IS NULL OR bot_id = ANY (ids);
  INSERT INTO public.conversations (bot_id, conversation_id, messages)
    SELECT bot_id, conversation_id, count(*) FROM public.messages
    WHERE (ids IS NULL OR bot_id = ANY (ids)) AND id <> ALL (excepted) GROUP BY bot_id, conversation_id
  ON CONFLICT (bot_id, conversation_id) DO UPDATE SET messages = excluded.messages;
  INSERT INTO public.bot_stats AS s (bot_id, org_id, inbound, outbound, failed, outbound_delivered, outbound_failed, conversations,
      response_time_sum, response_time_count, last_message_at, revision)
    SELECT b.id,
      b.org_id,
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
    org_id = excluded.org_id,
    inbound = excluded.inbound, outbound = excluded.outbound, failed = excluded.failed,
    outbound_delivered = excluded.outbound_delivered, outbound_failed = excluded.outbound_failed,
    conversations = excluded.conversations, response_time_sum = excluded.response_time_sum,
    response_time_count = excluded.response_time_count, last_message_at = excluded.last_message_at,
    revision = greatest(s.revision + 1, excluded.revision);
END $$;--> statement-breakpoint

-- PART 2: the totals of organizations follow those of their bots.

-- Counts the shards of organizations from their bots; those of all, without an argument.
CREATE FUNCTION public.counted_organization_totals(ids uuid[] DEFAULT NULL) RETURNS SETOF public.organization_totals
  LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
  SELECT org_id, shard, sum(running)::bigint, sum(messages), sum(failed), max(last_message_at)
  FROM (
    SELECT org_id, public.organization_shard(id) AS shard, (status = 'RUNNING')::int AS running,
        0::numeric AS messages, 0::numeric AS failed, NULL::timestamptz AS last_message_at
      FROM public.bots
    UNION ALL
    SELECT org_id, public.organization_shard(bot_id), 0, inbound::numeric + outbound, failed, last_message_at
      FROM public.bot_stats
  ) AS source JOIN public.organizations AS o ON o.id = org_id
  WHERE ids IS NULL OR org_id = ANY (ids) GROUP BY org_id, shard ORDER BY org_id, shard
$$;--> statement-breakpoint

-- Counts the totals of organizations anew; of all, without an argument. Writers of totals that are under way are waited for,
-- and the others wait, so that no change is lost.
CREATE FUNCTION public.recount_organization_totals(ids uuid[] DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  LOCK TABLE public.organization_totals IN SHARE ROW EXCLUSIVE MODE;
  UPDATE public.organization_totals
    SET running_bots = 0, total_messages = 0, failed_messages = 0, last_message_at = NULL
    WHERE ids IS NULL OR org_id = ANY (ids);
  INSERT INTO public.organization_totals SELECT * FROM public.counted_organization_totals(ids)
  ON CONFLICT (org_id, shard) DO UPDATE SET
    running_bots = excluded.running_bots, total_messages = excluded.total_messages,
    failed_messages = excluded.failed_messages, last_message_at = excluded.last_message_at;
END $$;--> statement-breakpoint

-- One body serves three operations on two tables; they differ in which rows count, with which sign, and in what a row adds.
-- All rows of shards are locked in one order, after those of bots and of their totals. The time of the last message only
-- grows, unless a row is taken away or lowered that may have held it: then it is looked up among the bots of that shard.
DO $migration$
DECLARE
  body constant text := $template$
    CREATE FUNCTION public.%1$I() RETURNS trigger
      LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
    DECLARE
      orgs uuid[];
      shards smallint[];
      times timestamptz[];
    BEGIN
      WITH deltas AS MATERIALIZED (
        SELECT org_id, public.organization_shard(%3$I) AS shard,
          coalesce(sum(sign * %4$s), 0)::bigint AS running,
          coalesce(sum(sign * %5$s), 0) AS messages,
          coalesce(sum(sign * %6$s), 0) AS failed,
          max(%7$s) FILTER (WHERE sign = 1) AS gained,
          max(%7$s) FILTER (WHERE sign = -1) AS lost
        FROM (%2$s) AS source %8$s
        GROUP BY 1, 2
      ), applied AS (
        INSERT INTO public.organization_totals AS t
          SELECT org_id, shard, running, messages, failed, gained FROM deltas
          WHERE running <> 0 OR messages <> 0 OR failed <> 0 OR gained IS DISTINCT FROM lost
          ORDER BY org_id, shard
        ON CONFLICT (org_id, shard) DO UPDATE SET
          running_bots = t.running_bots + excluded.running_bots,
          total_messages = t.total_messages + excluded.total_messages,
          failed_messages = t.failed_messages + excluded.failed_messages,
          last_message_at = greatest(t.last_message_at, excluded.last_message_at)
      )
      SELECT array_agg(org_id), array_agg(shard), array_agg(lost) INTO orgs, shards, times FROM deltas
        WHERE lost IS NOT NULL AND (gained IS NULL OR gained < lost);
      IF orgs IS NOT NULL THEN
        UPDATE public.organization_totals AS t SET last_message_at = (
            SELECT max(s.last_message_at) FROM public.bot_stats AS s
            WHERE s.org_id = t.org_id AND public.organization_shard(s.bot_id) = t.shard)
          FROM unnest(orgs, shards, times) AS gone (org_id, shard, lost)
          WHERE t.org_id = gone.org_id AND t.shard = gone.shard AND t.last_message_at <= gone.lost;
      END IF;
      RETURN NULL;
    END $body$
  $template$;
  trigger constant text := 'CREATE TRIGGER %1$I AFTER %2$s ON public.%3$I REFERENCING %4$s
    FOR EACH STATEMENT EXECUTE FUNCTION public.%5$I()';
  operation record;
  source record;
  name text;
BEGIN
  FOR source IN SELECT * FROM (VALUES
    ('bots', 'id', $$(status = 'RUNNING')::int$$, '0', '0', 'NULL::timestamptz'),
    ('bot_stats', 'bot_id', '0', '(inbound::numeric + outbound)', 'failed', 'last_message_at')
  ) AS s (table_name, bot_id, running, messages, failed, last_message_at) LOOP
    FOR operation IN SELECT * FROM (VALUES
      ('insert', 'NEW TABLE AS new_rows', 'SELECT *, 1 AS sign FROM new_rows', ''),
      ('update', 'NEW TABLE AS new_rows OLD TABLE AS old_rows',
        'SELECT *, 1 AS sign FROM new_rows UNION ALL SELECT *, -1 FROM old_rows', ''),
      -- An organization that is being deleted needs no totals any more.
      ('delete', 'OLD TABLE AS old_rows', 'SELECT *, -1 AS sign FROM old_rows',
        'WHERE EXISTS (SELECT FROM public.organizations AS o WHERE o.id = org_id)')
    ) AS o (name, transition, rows, condition) LOOP
      name := source.table_name || '_organization_totals_on_' || operation.name;
      EXECUTE format(body, name, operation.rows, source.bot_id, source.running, source.messages, source.failed,
        source.last_message_at, operation.condition);
      EXECUTE format(trigger, source.table_name || '_20_organization_totals_' || operation.name, operation.name,
        source.table_name, operation.transition, name);
    END LOOP;
  END LOOP;
END $migration$;--> statement-breakpoint

-- Tables that are emptied.
CREATE FUNCTION public.bots_organization_totals_on_truncate() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  UPDATE public.organization_totals SET running_bots = 0 WHERE running_bots <> 0;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER bots_20_organization_totals_truncate AFTER TRUNCATE ON public.bots
  FOR EACH STATEMENT EXECUTE FUNCTION public.bots_organization_totals_on_truncate();--> statement-breakpoint
-- As before; the totals that are made anew count from zero.
CREATE OR REPLACE FUNCTION public.bot_totals_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
  left_over uuid[];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    UPDATE public.organization_totals SET total_messages = 0, failed_messages = 0, last_message_at = NULL;
    PERFORM public.recount_bots();
    RETURN NULL;
  END IF;
  left_over := ARRAY(SELECT b.id FROM old_rows JOIN public.bots AS b ON b.id = bot_id);
  IF cardinality(left_over) > 0 THEN
    PERFORM public.recount_bots(left_over);
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
-- Whoever changes a shard meanwhile waits for the transaction that has removed it, and then finds it counted anew.
CREATE FUNCTION public.organization_totals_removed() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM public.recount_organization_totals();
    RETURN NULL;
  END IF;
  INSERT INTO public.organization_totals
    SELECT counted.*
    FROM public.counted_organization_totals(
      ARRAY(SELECT DISTINCT o.id FROM old_rows JOIN public.organizations AS o ON o.id = org_id)) AS counted
      JOIN old_rows USING (org_id, shard);
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER organization_totals_10_removed AFTER DELETE ON public.organization_totals
  REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION public.organization_totals_removed();--> statement-breakpoint
CREATE TRIGGER organization_totals_10_truncated AFTER TRUNCATE ON public.organization_totals
  FOR EACH STATEMENT EXECUTE FUNCTION public.organization_totals_removed();--> statement-breakpoint
SELECT public.recount_organization_totals();--> statement-breakpoint

-- What the server reads. The shards are summed for the organizations that are asked for, one by one.
CREATE VIEW public.organization_stats AS
  SELECT o.id, coalesce(c.total, 0) AS bots, t.running_bots, t.total_messages, t.failed_messages, t.last_message_at,
    now() AS computed_at
  FROM public.organizations AS o LEFT JOIN public.bot_counts AS c ON c.org_id = o.id
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(running_bots), 0) AS running_bots, coalesce(sum(total_messages), 0) AS total_messages,
        coalesce(sum(failed_messages), 0) AS failed_messages, max(last_message_at) AS last_message_at
      FROM public.organization_totals WHERE org_id = o.id
    ) AS t;--> statement-breakpoint

-- PART 3: the invalidation log.

-- Every change of a bot's totals may change its organization's, and one entry says both: a message adds one row to the log, as
-- before. So the totals of organizations log only what is done to them directly. Changes of `bots` are logged as `org:<id>`.
DO $migration$
DECLARE
  logged record;
  operation record;
BEGIN
  FOR logged IN SELECT * FROM (VALUES
    ('bot_stats', $$ARRAY['bot:' || bot_id || ':stats', 'org:' || org_id || ':stats']$$, ''),
    ('organization_totals', $$ARRAY['org:' || org_id || ':stats']$$, 'WHEN (pg_trigger_depth() = 0)')
  ) AS t (table_name, tags, condition) LOOP
    FOR operation IN SELECT * FROM (VALUES
      ('insert', 'NEW TABLE AS new_rows', 'SELECT * FROM new_rows'),
      ('update', 'NEW TABLE AS new_rows OLD TABLE AS old_rows', 'SELECT * FROM new_rows UNION ALL SELECT * FROM old_rows'),
      ('delete', 'OLD TABLE AS old_rows', 'SELECT * FROM old_rows')
    ) AS o (name, transition, source) LOOP
      EXECUTE format($template$
        CREATE OR REPLACE FUNCTION public.%1$I() RETURNS trigger
          LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
        BEGIN
          PERFORM public.log_cache_invalidation(ARRAY(SELECT DISTINCT unnest(%2$s) FROM (%3$s) AS source));
          RETURN NULL;
        END $body$
      $template$, logged.table_name || '_log_' || operation.name, logged.tags, operation.source);
      EXECUTE format('CREATE OR REPLACE TRIGGER %1$I AFTER %2$s ON public.%3$I REFERENCING %4$s
          FOR EACH STATEMENT %5$s EXECUTE FUNCTION public.%6$I()',
        logged.table_name || '_90_log_' || operation.name, operation.name, logged.table_name, operation.transition,
        logged.condition, logged.table_name || '_log_' || operation.name);
    END LOOP;
    EXECUTE format($template$
      CREATE OR REPLACE FUNCTION public.%1$I() RETURNS trigger
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
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
        PERFORM public.log_cache_invalidation(touched);
        RETURN NULL;
      END $body$
    $template$, logged.table_name || '_log_replicated', logged.tags);
  END LOOP;
END $migration$;--> statement-breakpoint
CREATE TRIGGER organization_totals_90_log_truncate AFTER TRUNCATE ON public.organization_totals
  FOR EACH STATEMENT EXECUTE FUNCTION public.log_everything_outdated();--> statement-breakpoint
CREATE TRIGGER organization_totals_91_log_replicated AFTER INSERT OR UPDATE OR DELETE ON public.organization_totals FOR EACH ROW
  WHEN (current_setting('session_replication_role') = 'replica') EXECUTE FUNCTION public.organization_totals_log_replicated();--> statement-breakpoint
ALTER TABLE public.organization_totals ENABLE REPLICA TRIGGER organization_totals_91_log_replicated;--> statement-breakpoint
ALTER TABLE public.organization_totals ENABLE ALWAYS TRIGGER organization_totals_90_log_truncate;
