import { access } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import { openDriver } from './db/driver.js';
import { codeOf, isStartingUp } from './db/failures.js';
import { isMigrated, migrateDatabase, MIGRATIONS } from './db/migrate.js';
import { databaseProblem, StartError } from './start-failure.js';

/** How long to wait for a PostgreSQL that is starting up, and for one that does not answer yet (ms). */
const MAX_STARTING_UP_MS = 30_000;
const MAX_ABSENT_MS = 5_000;
const PAUSE_MS = 1_000;

const ABSENT: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN']);

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
      const problem = databaseProblem(error) ?? error;
      const code = codeOf(error) ?? '';
      const waitedMs = performance.now() - startedAt;
      const maxMs = isStartingUp(error) ? MAX_STARTING_UP_MS : ABSENT.has(code) ? MAX_ABSENT_MS : 0;
      if (waitedMs >= maxMs || !(problem instanceof StartError)) throw problem;
      onWait(problem.message);
    } finally {
      await sql.end({ timeout: 0 });
    }
    await pause(PAUSE_MS);
  }
}
