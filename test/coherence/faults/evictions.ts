import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { between } from '../span.js';

/**
 * Redis drops keys at random, generations and locks among them, as one that is short of memory does. That is no fault
 * of anybody: not one read may be stale.
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
