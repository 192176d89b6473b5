import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/**
 * Transactions that commit long after they began. The snapshots of cached values list them as running, and a log that is
 * read by ascending ids would skip them. One is open throughout; each of the others changes a bot.
 */
export const longTransaction: Fault = {
  name: 'long transactions',
  about: 'one held open throughout; others that change a bot and commit 1 to 3 s later',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ sql, history, fixture }, span) {
    const holder = await sql.reserve();
    await holder`begin`;
    await holder`select pg_current_xact_id()`;
    const change = async (orgId: string): Promise<void> => {
      while (!span.isOver) {
        const bots = history.botsOf(orgId);
        // A bot that the random writers seldom choose: a writer of the same bot has to wait for this lock.
        const bot = bots[Math.floor(bots.length * 0.8)];
        if (!bot) return;
        bot.version.mayGrowBy(1);
        const [row] = await sql.begin(async (transaction) => {
          const changed = await transaction<{ version: number }[]>`
            update bots set description = 'slowly' where id = ${bot.id} returning version`;
          await span.pause(between(1_000, 3_000));
          return changed;
        });
        if (row) bot.version.isCommitted(row.version, performance.now());
      }
    };
    await Promise.all(fixture.orgIds.map(async (orgId) => await change(orgId)));
    await holder`rollback`;
    holder.release();
    await span.pause(2_100);
  },
};
