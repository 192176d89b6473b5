import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { Schedule } from '../schedule.js';
import { addBot, readerAndWriter, readEverywhere } from './gates.js';

/** Longer than the sweep of lost invalidations waits, so that Redis restarts after the sweep (ms). */
const SWEPT_MS = 1_700;
const READING_MS = 1_000;

/** Redis restarts from a dump that is older than the last write. */
export const oldDump: Schedule = {
  name: 'Redis from a dump of before the write',
  tolerance: WITHIN_TWO_SECONDS,
  async act(run, span) {
    const { mutations, redis } = run;
    const { writer } = readerAndWriter(run);
    const bot = await addBot(run);
    await readEverywhere(run, bot, 2);
    const dump = await redis.dump();
    await mutations.update(writer.server, bot);
    const answeredAt = performance.now();
    await readEverywhere(run, bot, 1);
    await span.pause(SWEPT_MS);
    await redis.kill();
    await redis.restart(dump);
    const readUntil = Math.max(performance.now(), answeredAt + 2_000) + READING_MS;
    while (performance.now() < readUntil && !span.signal.aborted) {
      await readEverywhere(run, bot, 1);
      await span.pause(10);
    }
  },
};
