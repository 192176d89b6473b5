import { processEnvironment, readOperatorConfig } from './config.js';
import { migrateAtStart } from './database-start.js';
import { endWith } from './start-failure.js';

/** `node dist/migrate.js`: brings the database of DATABASE_URL to the newest migration, and prints one line. */
async function main(): Promise<void> {
  const { databaseUrl } = readOperatorConfig(processEnvironment());
  const applied = await migrateAtStart(databaseUrl, (reason) => console.error(`Waiting: ${reason}`));
  console.log(applied === 0 ? 'The database is up to date.' : `Applied ${applied} migration(s).`);
}

main().catch(endWith);
