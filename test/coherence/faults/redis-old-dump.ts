import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** Redis restarts from a dump some seconds old: its generations and values match, but all are outdated. */
export const redisOldDump: Fault = {
  name: 'Redis from an old dump',
  about: 'SAVE; 2 to 4 s of writes; SIGKILL of Redis; restarted from that dump',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    do {
      await span.pause(300);
      const dump = await redis.dump();
      await span.pause(between(2_000, 4_000));
      await redis.kill();
      await redis.restart(dump);
      await span.pause(1_200);
    } while (!span.isOver);
  },
};
