import postgres from 'postgres';
import { ROLE } from './postgres-cluster.js';

/** The address of a database on the embedded server. */
export function databaseUrl(port: number, database: string): string {
  return `postgres://${ROLE}@127.0.0.1:${port}/${database}`;
}

/** Whether the server on that port accepts connections and is the one that runs on `cluster`. */
export async function serves(port: number, cluster: string): Promise<boolean> {
  const sql = connect(databaseUrl(port, 'postgres'));
  try {
    const rows = await sql<{ folder: string }[]>`select current_setting('data_directory') as folder`;
    return rows[0]?.folder === cluster;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/**
 * Creates the database unless it exists.
 *
 * @throws if the server cannot be reached or refuses
 */
export async function ensureDatabase(port: number, database: string): Promise<void> {
  const sql = connect(databaseUrl(port, 'postgres'));
  try {
    const found = await sql`select 1 from pg_database where datname = ${database}`;
    if (found.length === 0) await sql`create database ${sql(database)}`;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

function connect(url: string): postgres.Sql {
  return postgres(url, { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => undefined });
}
