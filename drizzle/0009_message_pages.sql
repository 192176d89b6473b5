-- Indexes for pages of a bot's messages, newest first, by each filter.
--
-- Writes to "messages" wait while they are built. Where that takes too long (10,000,000 messages: minutes), build them
-- before this release is started, one by one, with CREATE INDEX CONCURRENTLY IF NOT EXISTS instead of the three statements
-- below: then nothing waits, and the migration finds them there.

-- What an interrupted CREATE INDEX CONCURRENTLY leaves is not used by any query.
DO $migration$
DECLARE
  unfinished regclass;
BEGIN
  FOR unfinished IN
    SELECT indexrelid::regclass FROM pg_index
      WHERE indrelid = 'public.messages'::regclass AND NOT indisvalid
        AND indexrelid IN (SELECT to_regclass('public.' || name)
          FROM unnest(ARRAY['messages_page_idx', 'messages_kind_idx', 'messages_conversation_idx']) AS name)
  LOOP
    EXECUTE format('DROP INDEX %s', unfinished);
  END LOOP;
END $migration$;--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "messages_page_idx" ON "messages" USING btree ("bot_id","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "messages_kind_idx" ON "messages" USING btree ("bot_id","direction","status","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "messages_conversation_idx" ON "messages" USING btree ("bot_id","conversation_id","direction","status","created_at" DESC NULLS FIRST,"id" DESC NULLS FIRST);--> statement-breakpoint

-- Every write of messages changes their bot's totals, and is logged with those. Only where triggers of statements do not
-- fire, or the totals do not change, it must be logged here: pages of messages are cached under the same tag.
CREATE FUNCTION public.messages_log_replicated() RETURNS trigger LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
  PERFORM public.log_cache_invalidation(ARRAY(
    SELECT DISTINCT 'bot:' || id || ':stats' FROM unnest(ARRAY[OLD.bot_id, NEW.bot_id]) AS id WHERE id IS NOT NULL));
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER messages_91_log_replicated AFTER INSERT OR UPDATE OR DELETE ON public.messages FOR EACH ROW
  WHEN (current_setting('session_replication_role') = 'replica') EXECUTE FUNCTION public.messages_log_replicated();--> statement-breakpoint
ALTER TABLE public.messages ENABLE REPLICA TRIGGER messages_91_log_replicated;--> statement-breakpoint
-- By its name, log_altered_table() knows that a rewritten table of messages outdates cached values as well.
CREATE TRIGGER messages_90_log_truncate AFTER TRUNCATE ON public.messages
  FOR EACH STATEMENT EXECUTE FUNCTION public.log_everything_outdated();--> statement-breakpoint
ALTER TABLE public.messages ENABLE ALWAYS TRIGGER messages_90_log_truncate;--> statement-breakpoint

-- Last, because nobody can read the table from here on until the migration is committed.
DROP INDEX "messages_bot_idx";
