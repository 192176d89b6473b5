import { moduleUrl } from '../compiled.js';
import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { between } from '../span.js';

/** The wall clock of one server jumps. Freshness must not depend on it: no read may be stale. */
export const clockSteps: Fault = {
  name: 'clock steps',
  about: 'the wall clock of one server jumps by an hour and by a day, ahead and back',
  tolerance: STRICT,
  options: { imports: [moduleUrl('imports/shifted-clock')] },
  async act({ fleet }, span) {
    do {
      await span.pause(between(300, 900));
      fleet.berth(0).server.process.child.kill('SIGUSR2');
    } while (!span.isOver);
    await span.pause(500);
  },
};
