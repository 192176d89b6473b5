import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { between } from '../span.js';

/** Memory beyond that of an empty Redis: room for a few values (bytes). */
const ROOM = 128 * 1_024;

/**
 * Redis evicts the least recently used keys, as most caches are configured to. This is normal for a cache, so no read may be
 * stale.
 */
export const redisShortOfMemory: Fault = {
  name: 'Redis short of memory',
  about: 'maxmemory with allkeys-lru: room for a part of the values',
  tolerance: STRICT,
  async act({ redis, history }, span) {
    await redis.admin(async (client) => {
      const evicted = async () => Number(/evicted_keys:(\d+)/.exec(await client.info('stats'))?.[1]);
      const used = async () => Number(/used_memory:(\d+)/.exec(await client.info('memory'))?.[1]);
      const before = await evicted();
      await client.config('SET', 'maxmemory-policy', 'allkeys-lru');
      do {
        await client.flushall();
        await client.config('SET', 'maxmemory', String((await used()) + ROOM));
        await span.pause(between(1_000, 2_000));
        await client.config('SET', 'maxmemory', '0');
      } while (!span.isOver);
      history.findings.notes.push(`${(await evicted()) - before} keys evicted`);
    });
  },
};
