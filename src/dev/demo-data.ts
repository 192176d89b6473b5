import { readFile } from 'node:fs/promises';

import type { Sql } from '../db/driver.js';

/** The demo data that the README and the first query name. */
export const DEMO = {
  acme: '00000000-0000-4000-8000-00000000000a',
  globex: '00000000-0000-4000-8000-00000000000b',
  owner: { id: '00000000-0000-4000-8000-000000000101', email: 'owner@acme.example' },
} as const;

/** Any constant works if nothing else in the database takes the same advisory lock. */
const SEED_LOCK = 7_305_190_413;

/** The statements are read at run time, so the file lies outside of what is compiled. */
const STATEMENTS = new URL('../../scripts/demo-data.sql', import.meta.url);

/** Fills an empty database. Returns false, and changes nothing, if the database already has an organization. */
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
