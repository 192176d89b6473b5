import { WITHIN_TWO_SECONDS } from '../findings.js';
import type { Schedule } from '../schedule.js';
import { addBot, readerAndWriter, readEverywhere } from './gates.js';

/** Longer than the sweep waits for an invalidation that was lost: the old dump must come after it. */
const SWEPT_MS = 1_700;
const READING_MS = 1_000;

/** Redis is restarted from a dump of before the last write. */
export const oldDump: Schedule = {
  name: 'Redis from a dump of before the write',
  tolerance: WITHIN_TWO_SECONDS,
  async run(stage, span) {
    const { mutations, redis } = stage;
    const { writer } = readerAndWriter(stage);
    const bot = await addBot(stage);
    await readEverywhere(stage, bot, 2);
    const dump = await redis.dump();
    await mutations.update(writer.server, bot);
    const answeredAt = performance.now();
    await readEverywhere(stage, bot, 1);
    await span.pause(SWEPT_MS);
    await redis.kill();
    await redis.restart(dump);
    const readUntil = Math.max(performance.now(), answeredAt + 2_000) + READING_MS;
    while (performance.now() < readUntil && !span.signal.aborted) {
      await readEverywhere(stage, bot, 1);
      await span.pause(10);
    }
  },
};
