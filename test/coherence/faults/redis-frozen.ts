import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { between } from '../span.js';

const FROZEN_MS = 3_000;

/** Redis accepts connections and does not reply. */
export const redisFrozen: Fault = {
  name: 'Redis frozen',
  about: `SIGSTOP of Redis for ${FROZEN_MS / 1_000} s`,
  tolerance: WITHIN_TWO_SECONDS,
  async act({ redis }, span) {
    do {
      await span.pause(between(200, 600));
      redis.freeze();
      await span.pause(FROZEN_MS);
      redis.thaw();
      await span.pause(1_200);
    } while (!span.isOver);
  },
};
