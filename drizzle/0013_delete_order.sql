-- Whoever deletes a bot locks its rows in the order of all other writers: the bot, the number of its organization's bots, its
-- messages, its totals, its organization's totals. By themselves, the foreign keys would delete the totals before the
-- messages, and the deletion and a change of a message could wait for each other (a deadlock).
CREATE FUNCTION public.bots_delete_messages_first() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  PERFORM FROM public.bot_counts WHERE org_id = OLD.org_id FOR UPDATE;
  IF EXISTS (SELECT FROM public.organizations WHERE id = OLD.org_id) THEN
    DELETE FROM public.messages WHERE bot_id = OLD.id;
  ELSE
    -- The organization is being deleted: its totals cannot be written any more. The foreign key deletes the messages.
    PERFORM FROM public.messages WHERE bot_id = OLD.id FOR UPDATE;
  END IF;
  RETURN OLD;
END $$;--> statement-breakpoint
CREATE TRIGGER bots_10_delete_messages_first BEFORE DELETE ON public.bots
  FOR EACH ROW EXECUTE FUNCTION public.bots_delete_messages_first();
