import { readFile } from 'node:fs/promises';

import type { Sql } from './connection.js';

/** The SQL file is not compiled; it is beside the sources. */
const SCHEMA = new URL('../../../src/cache/postgres/schema.sql', import.meta.url);

/**
 * Installs the cache's tables and functions in the schema `public`, or updates them, in one transaction. It locks
 * nothing if they are up to date. Needs the right to create in `public`; a superuser also gets the event trigger that
 * notices `ALTER TABLE`.
 */
export async function installCache(sql: Sql): Promise<void> {
  const schema = await readFile(SCHEMA, 'utf8');
  await sql.begin(async (transaction) => await transaction.unsafe(schema));
}
