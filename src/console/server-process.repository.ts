import { sql } from 'drizzle-orm';

import { LOG_CONNECTION_NAME } from '../cache/postgres/log-connection.js';
import type { Database } from '../db/client.js';

/** A process that reads the invalidation log, as PostgreSQL sees its connection. */
export interface ServerProcess {
  /** The address that the connection comes from; null: over a local socket, or the account may not see it. */
  readonly address: string | null;
  readonly port: number | null;
  /** When the connection was opened (ms since 1970); null if the account may not see it. */
  readonly connectedAt: number | null;
}

/** The maximum number of processes that are listed. */
const MAX_PROCESSES = 200;

/** Finds the server processes of this database by the connections over which they read the invalidation log. */
export class ServerProcessRepository {
  constructor(private readonly db: Database) {}

  /** The processes, the longest connected one first. */
  async findMany(): Promise<readonly ServerProcess[]> {
    const rows = await this.db.execute(sql`
      select host(client_addr) as address, nullif(client_port, -1) as port,
        (extract(epoch from backend_start) * 1000)::float8 as "connectedAt"
      from pg_catalog.pg_stat_activity
      where application_name = ${LOG_CONNECTION_NAME} and datname = pg_catalog.current_database()
      order by backend_start limit ${MAX_PROCESSES}`);
    return rows as unknown as readonly ServerProcess[];
  }
}
