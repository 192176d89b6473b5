import 'reflect-metadata';

import { createApp } from './app.js';
import { ConfigError, processEnvironment, readConfig } from './config.js';
import { migrateDatabase } from './db/migrate.js';
import { createLogger } from './logger.js';
import { closeOnSignal } from './shutdown.js';

/**
 * The production server: `npm run serve`. It brings nothing up by itself but the database's schema, and refuses to start
 * without its required settings.
 */
async function main(): Promise<void> {
  const config = readConfig({ NODE_ENV: 'production', ...processEnvironment() });
  const log = createLogger(config.logLevel);
  const migrations = await migrateDatabase(config.database.url);
  if (migrations > 0) log.info({ migrations }, 'Migrated the database');
  const app = await createApp(config, { log });
  closeOnSignal(log, async () => await app.close());
  log.info({ url: await app.listen() }, 'Serving');
}

main().catch((error: unknown) => {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(1);
});
