import type postgres from 'postgres';

/** Statistics of an organization, counted from its rows or read from its totals. */
export interface Totals {
  readonly org: string;
  readonly bots: number;
  readonly running: number;
  readonly messages: number;
  readonly failed: number;
  readonly last: string | null;
}

/** The totals of each organization, counted from the rows of bots and messages. */
export const countedTotals = async (sql: postgres.Sql): Promise<Totals[]> => [
  ...(await sql<Totals[]>`
    select o.id as org, count(distinct b.id)::int as bots,
      count(distinct b.id) filter (where b.status = 'RUNNING')::int as running,
      count(m.id)::int as messages, count(m.id) filter (where m.status = 'FAILED')::int as failed,
      max(m.created_at)::text as last
    from organizations as o left join bots as b on b.org_id = o.id left join messages as m on m.bot_id = b.id
    group by o.id order by o.id`),
];

/** The totals of each organization, as triggers maintain them. */
export const storedTotals = async (sql: postgres.Sql): Promise<Totals[]> => [
  ...(await sql<Totals[]>`
    select o.id as org, coalesce((select total from bot_counts where org_id = o.id), 0)::int as bots,
      coalesce(sum(running_bots), 0)::int as running, coalesce(sum(total_messages), 0)::int as messages,
      coalesce(sum(failed_messages), 0)::int as failed, max(last_message_at)::text as last
    from organizations as o left join organization_totals as t on t.org_id = o.id
    group by o.id order by o.id`),
];

/** The shards that differ from the sums over their bots. */
export const wrongShards = async (sql: postgres.Sql): Promise<object[]> => [
  ...(await sql`
    select * from organization_totals as stored
      full join counted_organization_totals() as counted using (org_id, shard)
    where (coalesce(stored.running_bots, 0), coalesce(stored.total_messages, 0), coalesce(stored.failed_messages, 0), stored.last_message_at)
      is distinct from (coalesce(counted.running_bots, 0), coalesce(counted.total_messages, 0),
        coalesce(counted.failed_messages, 0), counted.last_message_at)`),
];
