-- What must hold however a row is written (GraphQL, psql, COPY, a migration) is kept here, by triggers.

-- A bot's version grows by one with every change of its row, and started_at follows its status.
CREATE FUNCTION bots_before_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
  END IF;
  NEW.started_at := CASE WHEN NEW.status = 'RUNNING' THEN coalesce(NEW.started_at, now()) END;
  RETURN NEW;
END $$;--> statement-breakpoint
CREATE TRIGGER bots_before_insert BEFORE INSERT ON bots
  FOR EACH ROW EXECUTE FUNCTION bots_before_write();--> statement-breakpoint
CREATE TRIGGER bots_before_update BEFORE UPDATE ON bots
  FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION bots_before_write();--> statement-breakpoint

-- How many bots an organization has, and a row of totals for each bot.
CREATE FUNCTION bots_keep_totals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO bot_counts AS c (org_id, total)
      SELECT org_id, count(*) FROM new_rows GROUP BY org_id ORDER BY org_id
      ON CONFLICT (org_id) DO UPDATE SET total = c.total + excluded.total;
    INSERT INTO bot_stats (bot_id) SELECT id FROM new_rows;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM 1 FROM bot_counts WHERE org_id IN (SELECT org_id FROM old_rows) ORDER BY org_id FOR UPDATE;
    UPDATE bot_counts AS c SET total = c.total - d.removed
      FROM (SELECT org_id, count(*) AS removed FROM old_rows GROUP BY org_id) AS d
      WHERE c.org_id = d.org_id;
  ELSIF TG_OP = 'UPDATE' THEN
    IF EXISTS (SELECT 1 FROM new_rows n JOIN old_rows o USING (id) WHERE n.org_id <> o.org_id) THEN
      INSERT INTO bot_counts AS c (org_id, total)
        SELECT org_id, sum(n) FROM (
          SELECT org_id, 1 AS n FROM new_rows UNION ALL SELECT org_id, -1 FROM old_rows
        ) AS moves GROUP BY org_id HAVING sum(n) <> 0 ORDER BY org_id
        ON CONFLICT (org_id) DO UPDATE SET total = c.total + excluded.total;
    END IF;
  ELSE
    UPDATE bot_counts SET total = 0 WHERE total <> 0;
  END IF;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER bots_10_totals_insert AFTER INSERT ON bots REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION bots_keep_totals();--> statement-breakpoint
CREATE TRIGGER bots_10_totals_update AFTER UPDATE ON bots
  REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION bots_keep_totals();--> statement-breakpoint
CREATE TRIGGER bots_10_totals_delete AFTER DELETE ON bots REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION bots_keep_totals();--> statement-breakpoint
CREATE TRIGGER bots_10_totals_truncate AFTER TRUNCATE ON bots
  FOR EACH STATEMENT EXECUTE FUNCTION bots_keep_totals();--> statement-breakpoint

-- A bot's running totals. One body serves the three operations; they differ in which rows count, with which sign,
-- and in the last message's time, which only an insert can know without looking it up.
-- The totals' rows are locked first, in one order, so concurrent writers of several bots cannot deadlock, and the
-- statement after the lock sees what the writer before has committed. A bot that is being deleted has no totals
-- any more, and is passed over.
DO $migration$
DECLARE
  body constant text := $template$
    CREATE FUNCTION %1$I() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
      PERFORM 1 FROM bot_stats WHERE bot_id IN (SELECT bot_id FROM (%2$s) AS source) ORDER BY bot_id FOR UPDATE;
      WITH deltas AS MATERIALIZED (
        SELECT bot_id, conversation_id,
          sum(sign) AS messages,
          coalesce(sum(sign) FILTER (WHERE direction = 'INBOUND'), 0) AS inbound,
          coalesce(sum(sign) FILTER (WHERE direction = 'OUTBOUND'), 0) AS outbound,
          coalesce(sum(sign) FILTER (WHERE status = 'FAILED'), 0) AS failed,
          coalesce(sum(sign) FILTER (WHERE direction = 'OUTBOUND' AND status = 'DELIVERED'), 0) AS outbound_delivered,
          coalesce(sum(sign) FILTER (WHERE direction = 'OUTBOUND' AND status = 'FAILED'), 0) AS outbound_failed,
          coalesce(sum(sign * response_time_ms::bigint), 0) AS response_time_sum,
          coalesce(sum(sign) FILTER (WHERE response_time_ms IS NOT NULL), 0) AS response_time_count,
          max(created_at) AS last_message_at
        FROM (%2$s) AS source JOIN bot_stats USING (bot_id)
        GROUP BY bot_id, conversation_id
      ), counted AS (
        INSERT INTO conversations AS c (bot_id, conversation_id, messages)
          SELECT bot_id, conversation_id, messages FROM deltas WHERE messages <> 0 ORDER BY bot_id, conversation_id
          ON CONFLICT (bot_id, conversation_id) DO UPDATE SET messages = c.messages + excluded.messages
          RETURNING bot_id, conversation_id, messages
      ), opened AS (
        SELECT bot_id,
          count(*) FILTER (WHERE counted.messages = deltas.messages)
            - count(*) FILTER (WHERE counted.messages = 0) AS conversations
        FROM counted JOIN deltas USING (bot_id, conversation_id) GROUP BY bot_id
      ), sums AS (
        SELECT bot_id, sum(inbound) AS inbound, sum(outbound) AS outbound, sum(failed) AS failed,
          sum(outbound_delivered) AS outbound_delivered, sum(outbound_failed) AS outbound_failed,
          sum(response_time_sum) AS response_time_sum, sum(response_time_count) AS response_time_count,
          max(last_message_at) AS last_message_at
        FROM deltas GROUP BY bot_id
      )
      UPDATE bot_stats AS s SET
        inbound = s.inbound + sums.inbound,
        outbound = s.outbound + sums.outbound,
        failed = s.failed + sums.failed,
        outbound_delivered = s.outbound_delivered + sums.outbound_delivered,
        outbound_failed = s.outbound_failed + sums.outbound_failed,
        conversations = s.conversations + coalesce(opened.conversations, 0),
        response_time_sum = s.response_time_sum + sums.response_time_sum,
        response_time_count = s.response_time_count + sums.response_time_count,
        last_message_at = %3$s,
        revision = s.revision + 1
      FROM sums LEFT JOIN opened USING (bot_id) WHERE s.bot_id = sums.bot_id;
      %4$s
      RETURN NULL;
    END $body$
  $template$;
  inserted constant text := 'SELECT *, 1 AS sign FROM new_rows';
  removed constant text := 'SELECT *, -1 AS sign FROM old_rows';
  looked_up constant text :=
    '(SELECT m.created_at FROM messages AS m WHERE m.bot_id = s.bot_id ORDER BY m.created_at DESC LIMIT 1)';
  tidy constant text := 'DELETE FROM conversations AS c USING (%s) AS source
        WHERE c.bot_id = source.bot_id AND c.conversation_id = source.conversation_id AND c.messages = 0;';
BEGIN
  EXECUTE format(body, 'messages_totals_on_insert', inserted, 'greatest(s.last_message_at, sums.last_message_at)', '');
  EXECUTE format(body, 'messages_totals_on_delete', removed, looked_up, format(tidy, removed));
  EXECUTE format(body, 'messages_totals_on_update', inserted || ' UNION ALL ' || removed, looked_up, format(tidy, removed));
END $migration$;--> statement-breakpoint
CREATE FUNCTION messages_totals_on_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM conversations;
  UPDATE bot_stats SET inbound = 0, outbound = 0, failed = 0, outbound_delivered = 0, outbound_failed = 0,
    conversations = 0, response_time_sum = 0, response_time_count = 0, last_message_at = NULL, revision = revision + 1;
  RETURN NULL;
END $$;--> statement-breakpoint
CREATE TRIGGER messages_totals_insert AFTER INSERT ON messages REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION messages_totals_on_insert();--> statement-breakpoint
CREATE TRIGGER messages_totals_update AFTER UPDATE ON messages
  REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION messages_totals_on_update();--> statement-breakpoint
CREATE TRIGGER messages_totals_delete AFTER DELETE ON messages REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION messages_totals_on_delete();--> statement-breakpoint
CREATE TRIGGER messages_totals_truncate AFTER TRUNCATE ON messages
  FOR EACH STATEMENT EXECUTE FUNCTION messages_totals_on_truncate();
