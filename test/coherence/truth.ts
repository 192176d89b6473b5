import type postgres from 'postgres';

import type { History, Item } from './history.js';

type Row = Required<Item>;

/**
 * Looks into the database, past every cache, and tells the history what is there: so that a write which nobody has
 * answered, from outside or by a server that was killed, is missed as well.
 */
export async function readTruth(
  sql: postgres.Sql,
  history: History,
  orgIds: readonly string[],
): Promise<void> {
  for (const orgId of orgIds) {
    const rows = await sql<Row[]>`
      select b.id, b.version, (s.inbound + s.outbound)::int as total, s.failed::int as failed
      from bots as b join bot_stats as s on s.bot_id = b.id where b.org_id = ${orgId}`;
    history.isCommitted(orgId, rows, performance.now());
  }
}
