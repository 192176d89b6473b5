CREATE TABLE "audit_log" (
	"org_id" uuid NOT NULL,
	"id" bigint GENERATED ALWAYS AS IDENTITY (sequence name "audit_log_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone DEFAULT now() NOT NULL,
	"user_id" uuid NOT NULL,
	"mutation" text NOT NULL,
	"entity_ids" uuid[] NOT NULL,
	"request_id" text NOT NULL,
	"idempotency_key" text,
	CONSTRAINT "audit_log_org_id_id_pk" PRIMARY KEY("org_id","id")
);
--> statement-breakpoint
CREATE INDEX "audit_log_at_idx" ON "audit_log" USING btree ("at");--> statement-breakpoint

-- Records a mutation. The statement that writes calls it for what it returns, so both are committed together, or neither is.
CREATE FUNCTION public.audit_mutation(
  author uuid, field text, organization uuid, entities uuid[], request text, given_key text
) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  INSERT INTO public.audit_log (org_id, user_id, mutation, entity_ids, request_id, idempotency_key)
    VALUES (organization, author, field, entities, request, given_key);
  RETURN true;
END $$;--> statement-breakpoint

-- Removes entries that are older than `age`, `most` of them at a call; returns how many. One session does so at a time.
CREATE FUNCTION public.prune_audit_log(age interval, most integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  removed bigint;
BEGIN
  IF NOT pg_try_advisory_xact_lock(7305190422) THEN
    RETURN 0;
  END IF;
  DELETE FROM public.audit_log WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM public.audit_log WHERE at < clock_timestamp() - age
    ORDER BY at LIMIT most FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END $$;
