import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { BotRecord } from '../history.js';
import { between } from '../span.js';
import type { CoherenceRun } from '../coherence-run.js';

/** Concurrent transactions, and the bots that they lock. */
const RIVALS = 4;
const BOTS = 4;

/** Transactions lock the same bots in random order, so PostgreSQL aborts many of them and others commit late. */
export const deadlocks: Fault = {
  name: 'deadlock storm',
  about: `${RIVALS} transactions at a time change the same ${BOTS} bots in any order`,
  tolerance: WITHIN_TWO_SECONDS,
  async act(run, span) {
    const { history, fixture } = run;
    const bots = history.botsOf(fixture.orgIds[0] as string).slice(-BOTS);
    const outcomes = { committed: 0, ended: 0 };
    const rival = async (): Promise<void> => {
      do {
        const [first, second] = bots.toSorted(() => Math.random() - 0.5) as [BotRecord, BotRecord];
        outcomes[(await changeBoth(run, first, second)) ? 'committed' : 'ended'] += 1;
      } while (!span.isOver);
    };
    await Promise.all(Array.from({ length: RIVALS }, rival));
    history.findings.notes.push(`${outcomes.committed} committed, ${outcomes.ended} ended by PostgreSQL`);
  },
};

/** Returns whether the transaction was committed. */
async function changeBoth({ sql }: CoherenceRun, first: BotRecord, second: BotRecord): Promise<boolean> {
  for (const bot of [first, second]) bot.version.mayGrowBy(1);
  try {
    const changed = await sql.begin(async (transaction) => {
      const versions: [BotRecord, number][] = [];
      for (const bot of [first, second]) {
        const [row] = await transaction<{ version: number }[]>`
          update bots set description = 'fought for' where id = ${bot.id} returning version`;
        if (row) versions.push([bot, row.version]);
        await new Promise((resolve) => setTimeout(resolve, between(0, 30)));
      }
      return versions;
    });
    for (const [bot, version] of changed) bot.version.isCommitted(version, performance.now());
    return true;
  } catch (error) {
    if (isDeadlock(error)) return false;
    throw error;
  }
}

/** Whether PostgreSQL aborted a transaction to resolve a deadlock. */
export const isDeadlock = (error: unknown): boolean => (error as { code?: string }).code === '40P01';
