import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { required } from '../fleet.js';
import { between } from '../span.js';

/**
 * Messages to and from Redis are delayed, by less or more than the servers' timeout, so Redis runs commands long after
 * their callers gave up.
 */
export const redisSlow: Fault = {
  name: 'Redis slow',
  about:
    'each message to and from Redis delayed by 5 to 130 ms, another time for each server every 0.2 to 0.8 s',
  tolerance: WITHIN_TWO_SECONDS,
  options: { proxies: { redis: true } },
  async act({ fleet }, span) {
    const proxies = fleet.berths.map(({ redis }) => required(redis));
    do {
      for (const proxy of proxies) proxy.delay(between(5, 130));
      await span.pause(between(200, 800));
    } while (!span.isOver);
    for (const proxy of proxies) await proxy.resume();
    await span.pause(1_500);
  },
};
