import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { between } from '../span.js';

/**
 * Redis loses random keys, generations and locks among them, as it does when it is short of memory. This is normal for a
 * cache, so no read may be stale.
 */
export const evictions: Fault = {
  name: 'evictions',
  about: 'a quarter of all keys deleted at random, every 20 ms or so',
  tolerance: STRICT,
  async act({ redis }, span) {
    await redis.admin(async (client) => {
      while (!span.isOver) {
        const keys = (await client.keys('*')).filter(() => Math.random() < 0.25);
        if (keys.length > 0) await client.unlink(...keys);
        await span.pause(between(5, 35));
      }
    });
  },
};
