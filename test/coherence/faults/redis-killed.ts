import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** Redis is killed and restarted empty. */
export const redisKilled: Fault = {
  name: 'Redis killed',
  about: 'SIGKILL of Redis; started empty after 0.3 to 1.5 s',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    do {
      await span.pause(between(200, 800));
      await redis.kill();
      await span.pause(between(300, 1_500));
      await redis.restart();
      await span.pause(1_200);
    } while (!span.isOver);
  },
};
