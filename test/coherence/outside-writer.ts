import type postgres from 'postgres';

import type { BotPair, BotRecord, History } from './history.js';
import { describePair } from './readings.js';

interface Written {
  readonly version: number;
}

/**
 * Writes by SQL, past all servers, and records it in the history. PostgreSQL may be away, or choose this transaction as the
 * victim of a deadlock; then nothing was written, and the servers are not to blame.
 */
export class OutsideWriter {
  private serial = 0;

  constructor(private readonly parts: { readonly sql: postgres.Sql; readonly history: History }) {}

  /** Changes two bots in one transaction: by one statement or by two. */
  async writePair(pair: BotPair): Promise<void> {
    // Two writers at once might commit their markers in the other order.
    if (pair.isBusy) return;
    pair.isBusy = true;
    const { bots, marker } = pair;
    marker.mayGrowBy(1);
    const description = describePair(marker.max);
    for (const bot of bots) bot.version.mayGrowBy(1);
    // Everybody locks rows in the order of their ids, so that pairs cause no deadlocks.
    const [first, second] = bots.map(({ id }) => id).toSorted() as [string, string];
    const at = await this.attempt(async (sql) => {
      if ((this.serial += 1) % 2 === 0) {
        await sql`update bots set description = ${description} from
          (select id from bots where id in (${first}, ${second}) order by id for update) as locked
          where bots.id = locked.id`;
      } else {
        await sql`update bots set description = ${description} where id = ${first}`;
        await sql`update bots set description = ${description} where id = ${second}`;
      }
    });
    if (at !== undefined) marker.isCommitted(marker.max, at);
    pair.isBusy = false;
  }

  /** Changes one bot. */
  async writeBot(bot: BotRecord): Promise<void> {
    bot.version.mayGrowBy(1);
    let version = 0;
    const at = await this.attempt(async (sql) => {
      const rows = await sql<Written[]>`
        update bots set description = 'from outside' where id = ${bot.id} returning version`;
      version = rows[0]?.version ?? 0;
    });
    if (at !== undefined) bot.version.isCommitted(version, at);
  }

  /** Inserts a message, unless the bot has been deleted. */
  async writeMessage(bot: BotRecord): Promise<void> {
    bot.total.mayGrowBy(1);
    await this.attempt(async (sql) => {
      await sql`
        insert into messages (bot_id, conversation_id, contact_id, direction, status)
        select id, 'conversation 1', 'contact', 'INBOUND', 'DELIVERED' from bots where id = ${bot.id}`;
    });
  }

  /** Returns when the transaction had been committed; undefined if it failed. */
  private async attempt(write: (sql: postgres.TransactionSql) => Promise<void>): Promise<number | undefined> {
    const { sql, history } = this.parts;
    try {
      await sql.begin(write);
      return performance.now();
    } catch {
      history.findings.excused += 1;
      return undefined;
    }
  }
}
