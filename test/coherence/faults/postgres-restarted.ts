import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { PostgresHost } from '../postgres-host.js';
import { between } from '../span.js';

/** Within this time after a restart servers have working connections again (ms). */
const RECONNECTED_MS = 4_000;

/** PostgreSQL is restarted. Failed requests are excused meanwhile; answers must be right. */
export const postgresRestarted: Fault = {
  name: 'PostgreSQL restarted',
  about: 'by turns shut down and killed; away for 0 to 3 s',
  tolerance: WITHIN_TWO_SECONDS,
  options: { database: async () => await PostgresHost.start() },
  async act({ fleet, database }, span) {
    for (let turn = 0; turn === 0 || !span.isOver; turn++) {
      await span.pause(between(300, 900));
      const excuses = fleet.berths.map(({ server }) => server.excuse());
      await (database as PostgresHost).restart(turn % 2 === 0 ? 'stop' : 'kill', between(0, 3_000));
      await span.pause(RECONNECTED_MS);
      for (const endExcuse of excuses) endExcuse();
      await span.pause(1_000);
    }
  },
};
