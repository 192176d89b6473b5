CREATE TABLE "idempotency_keys" (
	"user_id" uuid NOT NULL,
	"key" text NOT NULL,
	"ordinal" smallint NOT NULL,
	"fingerprint" text NOT NULL,
	"org_id" uuid NOT NULL,
	"outcome" jsonb NOT NULL,
	"kept_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "idempotency_keys_user_id_key_ordinal_pk" PRIMARY KEY("user_id","key","ordinal")
);
--> statement-breakpoint
CREATE INDEX "idempotency_keys_kept_at_idx" ON "idempotency_keys" USING btree ("kept_at");--> statement-breakpoint

-- Keeps the outcome of a mutation under the idempotency key of its request. The statement that writes calls it for what it returns,
-- so both are committed together, or neither is. A key that is taken ends the statement, and with it the second write; if the
-- first one is still under way, this waits for it.
CREATE FUNCTION public.keep_mutation_outcome(
  author uuid, given_key text, place smallint, content text, organization uuid, written jsonb
) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  -- A request with other mutations in other places is another request.
  IF EXISTS (SELECT FROM public.idempotency_keys WHERE user_id = author AND key = given_key AND fingerprint <> content) THEN
    RAISE unique_violation USING MESSAGE = 'the idempotency key is that of another request';
  END IF;
  INSERT INTO public.idempotency_keys (user_id, key, ordinal, fingerprint, org_id, outcome)
    VALUES (author, given_key, place, content, organization, written);
  RETURN true;
END $$;--> statement-breakpoint

-- Removes outcomes that are older than `age`, `most` of them at a call; returns how many. One session does so at a time.
CREATE FUNCTION public.prune_idempotency_keys(age interval, most integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  removed bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(7305190421) THEN
    RETURN 0;
  END IF;
  DELETE FROM public.idempotency_keys WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM public.idempotency_keys WHERE kept_at < clock_timestamp() - age
    ORDER BY kept_at LIMIT most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;
