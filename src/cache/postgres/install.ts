import { readFile } from 'node:fs/promises';

import type { Sql } from './connection.js';

/** The SQL stands beside the sources, and is not compiled. */
const SCHEMA = new URL('../../../src/cache/postgres/schema.sql', import.meta.url);

/**
 * Installs the cache's tables and functions in the schema `public`, or brings them up to date, in one transaction. Where they
 * are there already, nothing is locked. Needs the right to create in `public`; a superuser also gets the event trigger that
 * notices `ALTER TABLE`.
 */
export async function installCache(sql: Sql): Promise<void> {
  const schema = await readFile(SCHEMA, 'utf8');
  await sql.begin(async (transaction) => await transaction.unsafe(schema));
}
