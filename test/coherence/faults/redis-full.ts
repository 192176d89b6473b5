import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { between } from '../span.js';

/** Less than Redis uses when empty, so it refuses every command that needs memory. */
const FULL = '1mb';

/** Redis is full for a time and evicts nothing. Invalidations still work, so no read may be stale. */
export const redisFull: Fault = {
  name: 'Redis full',
  about: 'maxmemory reached with noeviction, for 1 to 2 s at a time',
  tolerance: STRICT,
  async act({ redis }, span) {
    await redis.admin(async (client) => {
      do {
        await span.pause(between(300, 900));
        await client.config('SET', 'maxmemory', FULL);
        await span.pause(between(1_000, 2_000));
        await client.config('SET', 'maxmemory', '0');
      } while (!span.isOver);
    });
    await span.pause(500);
  },
};
