import { setTimeout as sleep } from 'node:timers/promises';

import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';
import type { CoherenceRun } from '../coherence-run.js';

/** Within this time after an outage a server has working connections again (ms). */
const RECONNECTED_MS = 3_000;
const WRITES = 30;
const WRITE_EVERY_MS = 100;

/**
 * One server can reach Redis but not PostgreSQL. It must stop answering from Redis before its read of the invalidation log
 * is too old. Requests that it cannot answer then are excused.
 */
export const cutOffFromPostgres: Fault = {
  name: 'one server cut off from PostgreSQL',
  about:
    'for 4 s of writes from outside, by turns: connections refused, and connections that are open and silent',
  tolerance: WITHIN_TWO_SECONDS,
  options: { proxies: { postgres: true } },
  async act(run, span) {
    const { fleet } = run;
    const { postgres: proxy, server } = fleet.berth(0);
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      await span.pause(between(200, 600));
      const endExcuse = server.excuse();
      if (turn % 2 === 0) proxy?.refuse();
      else proxy?.stall();
      await Promise.all([span.pause(4_000), writeFromOutside(run, WRITES)]);
      await proxy?.resume();
      await span.pause(RECONNECTED_MS);
      endExcuse();
      await span.pause(500);
    }
  },
};

/** Writes by SQL. No server invalidates them, so the server without PostgreSQL cannot learn of them. */
async function writeFromOutside({ sql, history, fixture }: CoherenceRun, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const bot = history.botsOf(fixture.orgIds[i % fixture.orgIds.length] as string)[i % 5];
    if (bot) {
      bot.version.mayGrowBy(1);
      const [row] = await sql<{ version: number }[]>`
        update bots set description = 'from outside' where id = ${bot.id} returning version`;
      if (row) bot.version.isCommitted(row.version, performance.now());
    }
    await sleep(WRITE_EVERY_MS);
  }
}
