import 'reflect-metadata';

import { parseArgs } from 'node:util';

import { createApp, type App } from './app.js';
import { processEnvironment, readConfig } from './config.js';
import { migrateAtStart, requireMigrated } from './database-start.js';
import { createLogger } from './logger.js';
import { closeOnSignal } from './shutdown.js';
import { endWith, listenProblem, StartError } from './start-failure.js';

/**
 * The production server: `npm run serve`. It starts no services itself, migrates the database (unless MIGRATE_ON_START is
 * off), and refuses to start without its required settings.
 */
async function main(): Promise<void> {
  const config = readConfig({ NODE_ENV: 'production', ...processEnvironment(), ...settingsOf(process.argv) });
  const log = createLogger(config.logLevel);
  let app: App | undefined;
  // Registered first: the first process of a container ignores signals that it has no handler for.
  closeOnSignal(log, () => app && { ...app, delayMs: config.http.shutdownDelayMs });
  const { url: databaseUrl, migrateOnStart } = config.database;
  const onWait = (reason: string) => log.warn({ reason }, 'Waiting for PostgreSQL');
  if (migrateOnStart) {
    const migrations = await migrateAtStart(databaseUrl, onWait);
    if (migrations > 0) log.info({ migrations }, 'Migrated the database');
  } else {
    await requireMigrated(databaseUrl, onWait);
  }
  app = await createApp(config, { log });
  try {
    log.info({ url: await app.listen() }, 'Serving');
  } catch (error) {
    throw listenProblem(error, config.http) ?? error;
  }
}

/** `--shadow PERCENT` stands for SHADOW_PERCENT. @throws StartError for other arguments */
function settingsOf([, , ...args]: readonly string[]): Record<string, string> {
  try {
    const { shadow } = parseArgs({ args, options: { shadow: { type: 'string' } }, strict: true }).values;
    return shadow === undefined ? {} : { SHADOW_PERCENT: shadow };
  } catch (error) {
    throw new StartError((error as Error).message, { cause: error });
  }
}

main().catch(endWith);
