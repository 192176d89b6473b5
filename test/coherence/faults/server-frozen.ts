import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

/** A server process is frozen, then continues with the state it had before. */
export const serverFrozen: Fault = {
  name: 'server frozen',
  about: 'SIGSTOP of a random server for 0.5 to 4 s',
  tolerance: WITHIN_TWO_SECONDS,
  async act({ fleet }, span) {
    do {
      await span.pause(between(200, 600));
      const { server } = fleet.berth(Math.floor(Math.random() * fleet.berths.length));
      server.process.child.kill('SIGSTOP');
      await span.pause(between(500, 4_000));
      server.process.child.kill('SIGCONT');
      await span.pause(1_000);
    } while (!span.isOver);
  },
};
