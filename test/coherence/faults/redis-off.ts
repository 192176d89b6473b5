import type { Fault } from '../fault.js';
import { STRICT } from '../findings.js';

/** Servers that were started without a cache: every read goes to PostgreSQL. */
export const redisOff: Fault = {
  name: 'Redis off',
  about: 'REDIS_URL=off in all servers',
  tolerance: STRICT,
  options: { settings: { REDIS_URL: 'off' } },
  act: async (_, span) => await span.rest(),
};
