import type postgres from 'postgres';

import type { Fault } from '../fault.js';
import { WITHIN_TWO_SECONDS } from '../findings.js';
import { PostgresHost } from '../postgres-host.js';
import { between } from '../span.js';

/** Writes as replication makes them: ordinary triggers do not fire. */
export const replicatedWrites: Fault = {
  name: 'replicated writes',
  about: 'UPDATE of bots with session_replication_role = replica',
  tolerance: WITHIN_TWO_SECONDS,
  options: { database: async () => await PostgresHost.start() },
  async act({ database, history, fixture }, span) {
    await (database as PostgresHost).asSuperuser(async (sql) => {
      await watchReplicatedWrites(sql);
      await sql`set session_replication_role = replica`;
      do {
        for (const orgId of fixture.orgIds) {
          const bot = history.botsOf(orgId)[0];
          if (!bot) continue;
          bot.version.mayGrowBy(1);
          const [row] = await sql<{ version: number }[]>`
            update bots set description = 'replicated', version = version + 1 where id = ${bot.id} returning version`;
          if (row) bot.version.isCommitted(row.version, performance.now());
          await span.pause(between(20, 200));
        }
      } while (!span.isOver);
      await span.pause(2_001);
    });
  },
};

/** Enables the ordinary triggers for such writes, if no migration has done so. */
async function watchReplicatedWrites(sql: postgres.Sql): Promise<void> {
  const watching = await sql`
    select from pg_trigger where tgrelid = 'bots'::regclass and tgname like '%log%' and tgenabled in ('A', 'R')`;
  if (watching.length > 1) return;
  for (const operation of ['insert', 'update', 'delete'])
    await sql.unsafe(`alter table bots enable always trigger bots_90_log_${operation}`);
}
