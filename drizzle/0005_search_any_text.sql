-- Where a text has to be looked at itself, folding it is what takes the time, and in UTF-8 a text without other than ASCII
-- characters (as many bytes as characters) needs no ICU: the result is the same, so that indexes stay as they are. It is
-- not STRICT, because PostgreSQL would then not inline it.
CREATE OR REPLACE FUNCTION search_fold(value text) RETURNS text
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN CASE WHEN octet_length(value) = char_length(value) THEN lower(value COLLATE "C") COLLATE "default"
    ELSE translate(lower(value COLLATE "und-x-icu"), 'ς', 'σ') COLLATE "default" END;--> statement-breakpoint

-- Trigrams serve only texts with three letters or digits in a row, and under the locale "C" only ASCII ones. Any other
-- text (one or two characters, punctuation, 予約) is found by the characters and the pairs of characters it is made of.

-- Every character and every pair of neighbours of two texts, never a pair across the two. It is only ever evaluated to
-- index a row, or again where a bitmap does not fit in work_mem, so its cost must look as high as it is: a plan that
-- evaluates it for every row is never the better one. Repeated grams are left in, because GIN drops them faster.
-- It takes folded texts and calls built-in functions only, so that it does not depend on the caller's search_path.
CREATE FUNCTION search_grams(first text, second text) RETURNS text[]
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT COST 1000
AS $$
DECLARE
  a constant text[] := string_to_array(first, NULL);
  b constant text[] := string_to_array(second, NULL);
BEGIN
  RETURN a || b
    || ARRAY(SELECT l || r FROM unnest(a[:cardinality(a) - 1], a[2:]) AS pairs (l, r))
    || ARRAY(SELECT l || r FROM unnest(b[:cardinality(b) - 1], b[2:]) AS pairs (l, r));
END $$;--> statement-breakpoint
-- The collation only orders the grams in the index; "C" does that fastest, and the same in every database.
CREATE INDEX bots_grams_idx ON bots
  USING gin (org_id, search_grams(search_fold(name), search_fold(description)) COLLATE "C")
  WITH (gin_pending_list_limit = 512);--> statement-breakpoint
-- The searches do not let the planner look at their text, so ANALYZE need not hold thousands of long arrays in memory.
ALTER INDEX bots_grams_idx ALTER COLUMN 2 SET STATISTICS 0;
