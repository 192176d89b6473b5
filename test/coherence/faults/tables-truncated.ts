import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { isDeadlock } from './deadlocks.js';
import { between } from '../span.js';

const TABLES = [
  'cache_log_state',
  'cache_invalidations',
  'cache_log_horizons',
  'bot_counts',
  'bot_stats',
  'conversations',
  'organization_totals',
  'cache_invalidations, cache_log_state, cache_log_horizons, bot_counts, bot_stats, conversations, organization_totals',
];

/** Empties the server's own tables by SQL. Triggers count the totals anew, so clients must not notice. */
export const tablesTruncated: Fault = {
  name: 'own tables truncated',
  about: `TRUNCATE of ${TABLES.length - 1} tables, one after another and together`,
  tolerance: WITHIN_TWO_SECONDS,
  async act({ sql, history }, span) {
    let count = 0;
    do {
      for (const tables of TABLES) {
        try {
          await sql.unsafe(`truncate ${tables}`);
          count += 1;
        } catch (error) {
          if (!isDeadlock(error)) throw error;
        }
        await span.pause(between(50, 400));
      }
    } while (!span.isOver);
    history.findings.notes.push(`${count} times`);
  },
};
