-- Search is a case-insensitive "contains" on name and description, served by trigrams at any size.
-- org_id is part of the index (btree_gin), so that one organization's search does not read another's matches.
CREATE EXTENSION IF NOT EXISTS pg_trgm;--> statement-breakpoint
CREATE EXTENSION IF NOT EXISTS btree_gin;--> statement-breakpoint
-- Folding does not depend on the database's locale: under "C", lower('É') would stay 'É'. The two lower-case
-- sigmas are made one, because which of them lower() gives depends on the letters around it.
CREATE FUNCTION search_fold(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
  RETURN translate(lower(value COLLATE "und-x-icu"), 'ς', 'σ');--> statement-breakpoint
CREATE INDEX bots_search_idx ON bots
  USING gin (org_id, search_fold(name) gin_trgm_ops, search_fold(description) gin_trgm_ops)
  WITH (gin_pending_list_limit = 512);--> statement-breakpoint
-- Room for heap-only updates: starting and stopping a bot, or counting a message, touches no index.
ALTER TABLE bots SET (fillfactor = 85);--> statement-breakpoint
ALTER TABLE bot_stats SET (fillfactor = 60);
