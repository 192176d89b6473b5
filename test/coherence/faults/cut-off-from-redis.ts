import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** One server cannot reach Redis; the others can. Its invalidations do not arrive. */
export const cutOffFromRedis: Fault = {
  name: 'one server cut off from Redis',
  about: 'for 3 s, by turns: connections refused, and connections that are open and silent',
  tolerance: WITHIN_TWO_SECONDS,
  options: { proxies: { redis: true } },
  async act({ fleet }, span) {
    const proxy = fleet.berth(0).redis;
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      await span.pause(between(200, 600));
      if (turn % 2 === 0) proxy?.refuse();
      else proxy?.stall();
      await span.pause(3_000);
      await proxy?.resume();
      await span.pause(1_500);
    }
  },
};
