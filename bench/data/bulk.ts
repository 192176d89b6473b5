import type postgres from 'postgres';

import type { Sql } from '../../src/db/driver.js';

/** Organizations to fill, as a query that returns their ids and a text that makes their bots' ids differ. */
export type Organizations = postgres.PendingQuery<postgres.Row[]>;

/** Objects that PostgreSQL maintains for every written row, and that are faster to build for all rows at the end. */
interface PutAside {
  readonly table: string;
  readonly name: string;
  readonly definition: string;
}

/**
 * Fills a migrated database quickly: drops the triggers, keys and most indexes while `fill` writes, then computes their
 * totals and restores them. Every call writes the same rows.
 */
export async function bulkLoad(sql: Sql, fill: () => Promise<void>): Promise<void> {
  const indexes = await sql<{ definition: string }[]>`
    select pg_get_indexdef(i) as definition
    from unnest(array['bots_search_idx', 'bots_grams_idx', 'messages_page_idx', 'messages_kind_idx',
      'messages_conversation_idx']::regclass[]) as i`;
  await sql`drop index bots_search_idx, bots_grams_idx, messages_page_idx, messages_kind_idx, messages_conversation_idx`;
  // Foreign keys first: they depend on the other keys.
  const constraints = await sql<PutAside[]>`
    select conrelid::regclass::text as table, quote_ident(conname) as name, pg_get_constraintdef(oid) as definition
    from pg_constraint
    where (contype = 'f' and conrelid = any (array['bots', 'bot_stats', 'messages', 'conversations']::regclass[]))
      or (contype = 'p' and conrelid = any (array['messages', 'conversations']::regclass[]))
    order by contype`;
  for (const { table, name } of constraints) await sql.unsafe(`alter table ${table} drop constraint ${name}`);
  await sql`alter table bots disable trigger user`;
  await sql`alter table messages disable trigger user`;
  await fill();
  await computeTotals(sql);
  for (const { table, name, definition } of constraints.toReversed()) {
    await sql.unsafe(`alter table ${table} add constraint ${name} ${definition}`);
  }
  for (const { definition } of indexes) await sql.unsafe(definition);
  // A definition does not contain this.
  await sql`alter index bots_grams_idx alter column 2 set statistics 0`;
  await sql`alter table bots enable trigger user`;
  await sql`alter table messages enable trigger user`;
  await sql`vacuum analyze`;
}

/** Bots 1 to `each` of every organization, the last being the newest; see {@link SEARCHES} for their texts. */
export async function insertBots(sql: Sql, organizations: Organizations, each: number): Promise<void> {
  await sql`
    insert into bots (id, org_id, name, description, status, created_at, updated_at, started_at)
    select md5(o.place || '/' || n)::uuid, o.id,
      format('%s %s %s',
        (array['Support', 'Sales', 'Onboarding', 'Billing', 'Booking', 'Returns', 'Survey', 'Careers'])[1 + n % 8],
        (array['WhatsApp', 'Instagram', 'Web', 'Telegram', 'Messenger'])[1 + n % 5], n),
      format('Answers %s questions of %s customers in %s%s',
        (array['product', 'order', 'account', 'delivery', 'warranty', 'payment', 'contract'])[1 + n % 7],
        (array['new', 'loyal', 'business', 'private', 'international'])[1 + n / 7 % 5],
        (array['Berlin', 'Lisbon', 'Nairobi', 'Osaka', 'Quito', 'Toronto', 'Abidjan', 'Zagreb', 'Lima'])[1 + n / 35 % 9],
        case when n % 100000 = 77 then ', zeppelin flights' when n % 1000 = 3 then ', nach Größe'
          when n % 5000 = 4 then '、予約' else '' end),
      case when n % 3 = 0 then 'STOPPED' else 'RUNNING' end::bot_status,
      timestamptz '2020-01-01T00:00:00Z' + n * interval '1 minute',
      timestamptz '2020-01-01T00:00:00Z' + n * interval '1 minute',
      case when n % 3 = 0 then null else timestamptz '2020-01-01T00:00:00Z' + n * interval '1 minute' end
    from generate_series(1, ${each}::int) as n cross join (${organizations}) as o(id, place)`;
}

/** Texts to search for, named by how many of {@link insertBots}' rows hold them. */
export const SEARCHES = {
  rare: 'zeppelin',
  common: 'support',
  everywhere: 'customers',
  oneLetter: 'q',
  twoLetters: 'ab',
  nonAscii: 'größe',
  twoIdeographs: '予約',
  afterComma: '、予約',
  punctuation: ', n',
  absent: 'xyzzy',
} as const;

/** Messages 0 to `each` - 1 of every bot of an organization. */
export async function insertMessages(sql: Sql, orgId: string, each: number): Promise<void> {
  if (each === 0) return;
  await sql`
    insert into messages (bot_id, conversation_id, contact_id, direction, status, text, response_time_ms, created_at)
    select b.id, 'conversation-' || m / 4, 'contact-' || m / 8,
      case when m % 2 = 0 then 'INBOUND' else 'OUTBOUND' end::message_direction,
      case when m % 14 = 13 then 'FAILED' else 'DELIVERED' end::message_status,
      'Message ' || m, case when m % 2 = 1 then 200 + m * 37 % 1800 end, b.created_at + m * interval '7 minutes'
    from bots as b cross join generate_series(0, ${each - 1}::int) as m where b.org_id = ${orgId}`;
}

/** Computes the totals that the triggers would have maintained. */
async function computeTotals(sql: Sql): Promise<void> {
  await sql`insert into bot_counts (org_id, total) select org_id, count(*) from bots group by org_id`;
  await sql`
    insert into bot_stats (bot_id, org_id, inbound, outbound, failed, outbound_delivered, outbound_failed, conversations,
      response_time_sum, response_time_count, last_message_at, revision)
    select b.id, b.org_id, coalesce(m.inbound, 0), coalesce(m.outbound, 0), coalesce(m.failed, 0), coalesce(m.delivered, 0),
      coalesce(m.failed, 0), coalesce(m.conversations, 0), coalesce(m.response_time_sum, 0),
      coalesce(m.response_time_count, 0), m.last_message_at, case when m.bot_id is null then 0 else 1 end
    from bots as b left join (
      select bot_id, count(*) filter (where direction = 'INBOUND') as inbound,
        count(*) filter (where direction = 'OUTBOUND') as outbound,
        count(*) filter (where status = 'FAILED') as failed,
        count(*) filter (where direction = 'OUTBOUND' and status = 'DELIVERED') as delivered,
        count(distinct conversation_id) as conversations,
        sum(response_time_ms) as response_time_sum, count(response_time_ms) as response_time_count,
        max(created_at) as last_message_at
      from messages group by bot_id
    ) as m on m.bot_id = b.id`;
  await sql`
    insert into conversations (bot_id, conversation_id, messages)
    select bot_id, conversation_id, count(*) from messages group by bot_id, conversation_id`;
  await sql`select recount_organization_totals()`;
}
