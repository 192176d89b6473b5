import type postgres from 'postgres';

import type { CommittedItem, History } from './history.js';

/**
 * Reads the database directly and records its state in the history, so that the checker also knows writes that no mutation
 * has answered: those made by SQL or by a server that was killed.
 */
export async function readTruth(
  sql: postgres.Sql,
  history: History,
  orgIds: readonly string[],
): Promise<void> {
  for (const orgId of orgIds) {
    const rows = await sql<CommittedItem[]>`
      select b.id, b.version, (s.inbound + s.outbound)::int as total, s.failed::int as failed
      from bots as b join bot_stats as s on s.bot_id = b.id where b.org_id = ${orgId}`;
    history.isCommitted(orgId, rows, performance.now());
  }
}
