import { access } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { openDriver } from './db/driver.js';
import { codeOf } from './db/failures.js';
import { isMigrated, migrateDatabase, MIGRATIONS } from './db/migrate.js';
import { databaseProblem, StartError } from './start-failure.js';

/**
 * How long to wait for a PostgreSQL that may be starting (s), by the code of its refusal: it is starting up, nothing listens
 * yet, its host has no name yet. Any other refusal ends the start at once.
 */
const MAX_WAIT_SECONDS: Readonly<Record<string, number>> = {
  '57P03': 30,
  ECONNREFUSED: 15,
  ENOTFOUND: 5,
  EAI_AGAIN: 5,
};
const PAUSE_MS = 1_000;

/** The command with which operators migrate a database. */
const MIGRATE_COMMAND = 'node dist/migrate.js';

/**
 * Waits for a while until PostgreSQL accepts connections, and brings the database to the newest migration. Returns
 * how many migrations were applied.
 * @param onWait called with the reason of the wait
 * @throws StartError
 */
export async function migrateAtStart(url: string, onWait: (reason: string) => void): Promise<number> {
  await requireMigrations();
  await waitForDatabase(url, onWait);
  try {
    return await migrateDatabase(url);
  } catch (error) {
    if (codeOf(error) === '42501') {
      throw new StartError(
        `DATABASE_URL names a user without the right to migrate the database. Run ${MIGRATE_COMMAND} as the owner of ` +
          'the tables, and start the server with MIGRATE_ON_START=off.',
        { cause: error },
      );
    }
    throw databaseProblem(error) ?? error;
  }
}

/** As {@link migrateAtStart}, but only checks that the database was migrated. */
export async function requireMigrated(url: string, onWait: (reason: string) => void): Promise<void> {
  await requireMigrations();
  await waitForDatabase(url, onWait);
  const sql = openDriver(url, { max: 1 });
  try {
    if (await isMigrated(sql)) return;
  } catch (error) {
    throw databaseProblem(error) ?? error;
  } finally {
    await sql.end({ timeout: 5 });
  }
  throw new StartError(
    `The database is not migrated, and MIGRATE_ON_START is off: run ${MIGRATE_COMMAND} first.`,
  );
}

async function requireMigrations(): Promise<void> {
  try {
    await access(path.join(MIGRATIONS, 'meta/_journal.json'));
  } catch (cause) {
    throw new StartError(
      'The migrations are missing: the folder drizzle must be beside the folder dist. Install the release again.',
      { cause },
    );
  }
}

async function waitForDatabase(url: string, onWait: (reason: string) => void): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    const sql = openDriver(url, { max: 1, connect_timeout: 5 });
    try {
      await sql`select 1`;
      return;
    } catch (error) {
      onWait(reasonToWait(error, performance.now() - startedAt));
    } finally {
      await sql.end({ timeout: 0 });
    }
    await pause(PAUSE_MS);
  }
}

/** The reason to wait longer. @throws StartError if PostgreSQL will not accept connections soon, or did not for too long */
function reasonToWait(error: unknown, waitedMs: number): string {
  const problem = databaseProblem(error);
  const maxSeconds = MAX_WAIT_SECONDS[codeOf(error) ?? ''];
  if (!problem || maxSeconds === undefined) throw problem ?? error;
  if (waitedMs < maxSeconds * 1_000) return `${problem.message} Trying again for at most ${maxSeconds} s.`;
  throw new StartError(`${problem.message} Gave up after ${maxSeconds} s.`, { cause: error });
}
