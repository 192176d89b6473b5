import { processEnvironment } from '../config.js';

/** `npm run db:migrate`: applies the migrations to DATABASE_URL, or to the embedded PostgreSQL of this folder. */
const environment = processEnvironment();
if (environment.DATABASE_URL !== undefined || environment.DATABASE_URL_FILE !== undefined) {
  await import('../migrate.js');
} else {
  // What starts it is not installed where only the server runs.
  const { bringUpDatabase } = await import('./development-services.js');
  const { migrateDatabase } = await import('../db/migrate.js');
  const database = await bringUpDatabase(environment, console.error);
  try {
    const applied = await migrateDatabase(database.url);
    console.log(applied === 0 ? 'The database is up to date.' : `Applied ${applied} migration(s).`);
  } finally {
    await database.release();
  }
}
