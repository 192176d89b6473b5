import { readFile } from 'node:fs/promises';

import type { Sql } from '../db/driver.js';

/** The demo data that the README and the first query name. */
export const DEMO = {
  acme: '00000000-0000-4000-8000-00000000000a',
  globex: '00000000-0000-4000-8000-00000000000b',
  owner: { id: '00000000-0000-4000-8000-000000000101', email: 'owner@acme.example' },
} as const;

/** Any constant serves, as long as nothing else in the database takes the same advisory lock. */
const SEED_LOCK = 7_305_190_413;

/** Beside the commands that use it: it is read as it is, not compiled. */
const STATEMENTS = new URL('../../scripts/demo-data.sql', import.meta.url);

/** Fills an empty database. Returns false, and changes nothing, if there is an organization already. */
export async function seedDemoData(sql: Sql): Promise<boolean> {
  const statements = await readFile(STATEMENTS, 'utf8');
  return await sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(${SEED_LOCK})`;
    const [existing] = await tx`select 1 from organizations limit 1`;
    if (existing) return false;
    await tx.unsafe(statements);
    return true;
  });
}
