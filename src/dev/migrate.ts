import { processEnvironment } from '../config.js';
import { migrateDatabase } from '../db/migrate.js';
import { bringUpDatabase } from './development-services.js';

/** `npm run db:migrate`: applies the migrations to DATABASE_URL, or to the embedded PostgreSQL of this folder. */
const database = await bringUpDatabase(processEnvironment(), console.error);
try {
  const applied = await migrateDatabase(database.url);
  console.log(applied === 0 ? 'The database is up to date.' : `Applied ${applied} migration(s).`);
} finally {
  await database.release();
}
