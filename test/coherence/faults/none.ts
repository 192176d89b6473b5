import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';
import { keepVerifying } from '../stored-values.js';

/** No fault: no read may be stale. */
export const none: Fault = {
  name: 'none',
  about: 'reads and writes through all servers, while Redis is compared with PostgreSQL',
  tolerance: STRICT,
  act: async (run, span) => await keepVerifying(run, span),
};
