import { appendFile, mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';

import { startPostgres } from '../../src/dev/services/postgres.js';
import { eventually } from './eventually.js';

export interface OwnPostgres {
  readonly port: number;
  /** The URL of an empty database, as a role. */
  urlFor(role?: string, database?: string): string;
  /** A connection as the superuser. */
  readonly sql: postgres.Sql;
  stop(): Promise<void>;
}

const DATABASE = 'flovo_own';

/** Starts a separate PostgreSQL that also accepts the superuser and any other role. */
export async function startOwnPostgres(
  settings: Readonly<Record<string, string>> = {},
): Promise<OwnPostgres> {
  const folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-postgres-`);
  const service = await startPostgres({
    dataDir: folder,
    log: () => {},
    database: DATABASE,
    settings: { fsync: 'off', ...settings },
  });
  const urlFor = (role = 'postgres', database = DATABASE) =>
    `postgres://${role}@127.0.0.1:${service.port}/${database}`;
  await appendFile(path.join(folder, 'cluster', 'pg_hba.conf'), 'host all all 127.0.0.1/32 trust\n');
  process.kill(service.pid, 'SIGHUP');
  const sql = postgres(urlFor(), { max: 4, onnotice: () => {}, fetch_types: false });
  await eventually(async () => await sql`select 1`);
  return {
    port: service.port,
    urlFor,
    sql,
    async stop() {
      await sql.end({ timeout: 1 });
      await service.stop();
    },
  };
}
