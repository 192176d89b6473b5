import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';

import { openDriver, type Sql } from './driver.js';

/** The folder of the migrations, beside the compiled code. */
export const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url));
/** Any constant serves, as long as nothing else in the database takes the same advisory lock. */
const MIGRATION_LOCK = 7_305_190_412;

/**
 * Brings the database to the newest migration. Processes that start together take turns, because Drizzle's migrator
 * takes no lock of its own. Returns how many migrations were applied.
 */
export async function migrateDatabase(url: string): Promise<number> {
  const sql = openDriver(url, { max: 1 });
  try {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`;
    const before = await appliedMigrations(sql);
    await migrate(drizzle(sql), { migrationsFolder: MIGRATIONS });
    return (await appliedMigrations(sql)) - before;
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** Whether the database has had every migration of this version. Reads the database once. */
export async function isMigrated(sql: Sql): Promise<boolean> {
  const journal = JSON.parse(await readFile(`${MIGRATIONS}/meta/_journal.json`, 'utf8')) as {
    entries: unknown[];
  };
  return (await appliedMigrations(sql)) >= journal.entries.length;
}

async function appliedMigrations(sql: Sql): Promise<number> {
  const [table] = await sql<{ found: boolean }[]>`
    select to_regclass('drizzle.__drizzle_migrations') is not null as found`;
  if (!table?.found) return 0;
  const [row] = await sql<
    { count: number }[]
  >`select count(*)::int as count from drizzle.__drizzle_migrations`;
  return row?.count ?? 0;
}
