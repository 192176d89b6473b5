import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';

/** No fault: no read may be stale. */
export const none: Fault = {
  name: 'none',
  about: 'reads and writes through all servers',
  tolerance: STRICT,
  act: async (_, span) => await span.rest(),
};
