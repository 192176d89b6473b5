import type postgres from 'postgres';

import { addOrganization, addUser } from '../support/people.js';
import { BotPair, BotRecord, type History, type Term } from './history.js';
import type { PendingMessage } from './mutations.js';

/** The organizations, bots and messages that a run works on. */
export interface Fixture {
  readonly orgIds: readonly string[];
  /** Bots that one transaction changes together. */
  readonly pairs: readonly BotPair[];
  /** Messages that nobody has marked as failed yet. */
  readonly pending: PendingMessage[];
  /** The token of a user who owns every organization. */
  readonly token: string;
}

const PENDING_MESSAGES_A_BOT = 30;
const PAIRS_AN_ORGANIZATION = 3;

interface BotRow {
  readonly id: string;
  readonly name: string;
}

/** Fills an empty database and records its rows in the history. */
export async function createFixture(
  sql: postgres.Sql,
  history: History,
  { organizations, bots }: { organizations: number; bots: number },
): Promise<Fixture> {
  const orgIds: string[] = [];
  const pending: PendingMessage[] = [];
  const pairs: BotPair[] = [];
  for (let i = 0; i < organizations; i++) {
    const orgId = await addOrganization(sql, `Organization${i}`);
    orgIds.push(orgId);
    const rows = await sql<BotRow[]>`
      insert into bots (org_id, name, created_at)
      select ${orgId}, case n % 2 when 0 then 'even ' else 'odd ' end || n, now() - n * interval '1 minute'
      from generate_series(1, ${bots}) as n returning id, name`;
    const messages = await sql<PendingMessage[]>`
      insert into messages (bot_id, conversation_id, contact_id, direction, status)
      select b.id, 'conversation ' || n % 7, 'contact', 'OUTBOUND', 'PENDING'
      from bots as b, generate_series(1, ${PENDING_MESSAGES_A_BOT}) as n where b.org_id = ${orgId}
      returning id, bot_id as "botId"`;
    pending.push(...messages);
    const records = rows.map(({ id, name }) => {
      const initial = { version: 1, total: PENDING_MESSAGES_A_BOT, failed: 0 };
      const record = history.learn(new BotRecord(id, orgId, name.split(' ')[0] as Term, initial));
      history.isCreated(record, performance.now());
      record.total.isAnswered(PENDING_MESSAGES_A_BOT, performance.now());
      return record;
    });
    for (let pair = 0; pair < PAIRS_AN_ORGANIZATION; pair++) {
      const [first, second] = records.slice(2 * pair);
      if (first && second) pairs.push(new BotPair([first, second]));
    }
  }
  const { token } = await addUser(sql, Object.fromEntries(orgIds.map((orgId) => [orgId, 'OWNER'])));
  return { orgIds, pairs, pending, token };
}
