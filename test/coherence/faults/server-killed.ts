import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** A server process is killed at a random instant and restarted. */
export const serverKilled: Fault = {
  name: 'server killed',
  about: 'SIGKILL of a random server at a random instant, again and again; restarted each time',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ fleet }, span) {
    do {
      await span.pause(between(300, 1_200));
      const berth = fleet.berth(Math.floor(Math.random() * fleet.berths.length));
      await berth.server.kill();
      await fleet.restart(berth);
    } while (!span.isOver);
    await span.pause(500);
  },
};
