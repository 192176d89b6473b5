import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import type postgres from 'postgres';

import { openDriver, type Sql } from './driver.js';
import { isLockTimeout, sqlState } from './failures.js';
import { findEndpointKind } from './pooler-detection.js';

/** The folder of the migrations, beside the compiled code. */
export const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url));
/** Any constant works if nothing else in the database takes the same advisory lock. */
const MIGRATION_LOCK = 7_305_190_412;
/** How long to wait for the migration of another process, or for a lock on a table (ms). */
const LOCK_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_S = 10;

/** Why the database could not be migrated, in one sentence for an operator. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

/**
 * Brings the database to the newest migration. Processes that start together take turns. Returns how many migrations
 * were applied. If there are none to apply, it locks nothing and needs no right to change the schema.
 * @throws MigrationError
 */
export async function migrateDatabase(url: string): Promise<number> {
  const sql = await open(url);
  try {
    if (await isMigrated(sql)) return 0;
    return await sql.begin(async (tx) => {
      // The settings belong to this transaction: behind a pooler, a session outlives the connection.
      await tx.unsafe(`set local lock_timeout = ${LOCK_TIMEOUT_MS}; set local statement_timeout = 0;
        set local search_path = public; set local standard_conforming_strings = on`);
      await tx`select pg_advisory_xact_lock(${MIGRATION_LOCK})`;
      return await applyPending(tx);
    });
  } catch (error) {
    throw await explained(sql, error);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function open(url: string): Promise<Sql> {
  const sql = openDriver(url, { max: 1, connect_timeout: CONNECT_TIMEOUT_S });
  try {
    await findEndpointKind(url);
    await sql.unsafe('select 1');
    return sql;
  } catch (error) {
    await sql.end({ timeout: 0 });
    throw new MigrationError(
      `The database cannot be reached: ${(error as Error).message || String(sqlState(error))}`,
      {
        cause: error,
      },
    );
  }
}

/** Records migrations as Drizzle's own migrator does, so that Drizzle's tools work as well. */
async function applyPending(tx: postgres.TransactionSql): Promise<number> {
  await tx.unsafe(`create schema if not exists drizzle;
    create table if not exists drizzle.__drizzle_migrations (
      id serial primary key, hash text not null, created_at bigint)`);
  const [last] = await tx<{ at: string }[]>`
    select coalesce(max(created_at), 0)::text as at from drizzle.__drizzle_migrations`;
  const pending = readMigrationFiles({ migrationsFolder: MIGRATIONS }).filter(
    ({ folderMillis }) => folderMillis > Number(last?.at),
  );
  for (const { sql: statements, hash, folderMillis } of pending) {
    for (const statement of statements) await tx.unsafe(statement);
    await tx`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${folderMillis})`;
  }
  return pending.length;
}

async function explained(sql: Sql, error: unknown): Promise<MigrationError> {
  const options = { cause: error };
  if (isLockTimeout(error)) {
    const holders = await sql<{ pid: number }[]>`
      select pid from pg_locks where locktype = 'advisory' and granted
        and (classid::bigint << 32 | objid::bigint) = ${MIGRATION_LOCK}`.catch(() => []);
    const [holder] = holders;
    const reason = holder
      ? `the session with the process id ${holder.pid} holds the lock for migrations`
      : 'a table is locked';
    return new MigrationError(
      `The database could not be migrated within ${LOCK_TIMEOUT_MS / 1_000} s: ${reason}`,
      options,
    );
  }
  const { message } = error as Error;
  const advice =
    sqlState(error) === '42501' ? ' (let a role that may change the schema run the migrations first)' : '';
  return new MigrationError(`The database could not be migrated: ${message}${advice}`, options);
}

/** Whether every migration of this release was applied. Reads the database once. */
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
