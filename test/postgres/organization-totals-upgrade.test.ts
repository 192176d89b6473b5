import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readMigrationFiles } from 'drizzle-orm/migrator';

import { migrateDatabase, MIGRATIONS } from '../../src/db/migrate.js';
import { countedTotals, storedTotals, wrongShards } from '../support/organization-totals.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';
import { addBots, addOrganization } from '../support/people.js';

/** The number of migrations before the one that adds the totals of organizations. */
const BEFORE = 10;

let database: OwnPostgres;

/** A database as the previous release left it. */
beforeAll(async () => {
  database = await startOwnPostgres();
  await database.sql.unsafe(`create schema drizzle;
    create table drizzle.__drizzle_migrations (id serial primary key, hash text not null, created_at bigint)`);
  for (const { sql, hash, folderMillis } of readMigrationFiles({ migrationsFolder: MIGRATIONS }).slice(
    0,
    BEFORE,
  )) {
    for (const statement of sql) await database.sql.unsafe(statement);
    await database.sql`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${folderMillis})`;
  }
}, 60_000);

afterAll(async () => {
  await database?.stop();
});

test('the migration counts the existing rows while the previous release continues to write', async () => {
  const { sql } = database;
  const orgs = [
    await addOrganization(sql),
    await addOrganization(sql, 'Globex'),
    await addOrganization(sql, 'Empty'),
  ];
  const [busy, other] = [await addBots(sql, orgs[0] ?? '', 80), await addBots(sql, orgs[1] ?? '', 3)];
  await sql`update bots set status = 'RUNNING' where name like '%1'`;
  await sql`insert into messages (bot_id, conversation_id, contact_id, direction) select id, 'c', 'p', 'INBOUND' from bots`;
  const migration = { isOver: false };
  const failures: unknown[] = [];
  // Writes as the previous release does, which does not know the totals.
  const writing = [0, 1, 2].map(async (n) => {
    for (let i = 0; !migration.isOver; i++) {
      const bot = [...busy, ...other][(i * 7 + n) % 83] as string;
      try {
        await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status) values (${bot}, 'c', 'p', 'INBOUND', 'FAILED')`;
        await sql`update bots set status = case status when 'RUNNING' then 'STOPPED' else 'RUNNING' end::bot_status where id = ${bot}`;
        if (i % 5 === 0) await sql`insert into bots (org_id, name) values (${orgs[0] ?? ''}, 'new')`;
        if (i % 7 === 0)
          await sql`delete from messages where id = (select id from messages where bot_id = ${bot} order by created_at desc limit 1)`;
      } catch (error) {
        failures.push(error);
      }
    }
  });
  try {
    expect(await migrateDatabase(database.urlFor())).toBeGreaterThan(0);
  } finally {
    migration.isOver = true;
    await Promise.all(writing);
  }
  expect(failures).toEqual([]);
  expect(await wrongShards(sql)).toEqual([]);
  const stored = await storedTotals(sql);
  expect(stored).toEqual(await countedTotals(sql));
  expect(stored.filter(({ messages }) => messages > 0)).toHaveLength(2);
});
