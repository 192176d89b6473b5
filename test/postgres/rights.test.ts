import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { migrateDatabase, MigrationError } from '../../src/db/migrate.js';
import {
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  RecordMessagesDocument,
} from '../generated/graphql.js';
import { startApp } from '../support/app.js';
import { addOrganization, addUser } from '../support/people.js';
import { eventually } from '../support/eventually.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';
import { createDatabase } from '../support/services.js';

/** As in src/db/migrate.ts. */
const MIGRATION_LOCK = 7_305_190_412;

let postgres: OwnPostgres;

beforeAll(async () => {
  postgres = await startOwnPostgres();
  await migrateDatabase(postgres.urlFor());
}, 60_000);

afterAll(async () => {
  await postgres?.stop();
});

test('a role that may not change the schema runs the server on a migrated database', async () => {
  const { sql } = postgres;
  await sql.unsafe(`
    revoke create on schema public from public; revoke all on database flovo_own from public;
    create role server login; grant connect on database flovo_own to server; grant usage on schema public to server;
    grant select, insert, update, delete on all tables in schema public to server`);
  const url = postgres.urlFor('server');
  const orgId = await addOrganization(sql);
  const { token } = await addUser(sql, { [orgId]: 'OWNER' });
  expect(await migrateDatabase(url)).toBe(0);
  const app = await startApp({ DATABASE_URL: url });
  try {
    const client = app.client(token);
    const { createBot } = await client.ask(CreateBotDocument, { input: { orgId, name: 'b' } });
    const message = {
      conversationId: 'c',
      contactId: 'p',
      direction: 'INBOUND' as never,
      status: 'DELIVERED' as never,
      text: '',
    };
    await client.ask(RecordMessagesDocument, { botId: createBot.id, messages: [message] });
    await client.ask(DeleteBotDocument, { id: createBot.id });
    expect(await app.app.readiness()).toMatchObject({ ready: true, migrated: true });
  } finally {
    await app.close();
  }
  await sql`create table kept as select * from drizzle.__drizzle_migrations`;
  await sql`delete from drizzle.__drizzle_migrations`;
  const reason = await migrateDatabase(url).catch((error: Error) => error);
  expect(reason).toBeInstanceOf(MigrationError);
  expect((reason as Error).message).toContain(
    'let a role that may change the schema run the migrations first',
  );
  await sql`insert into drizzle.__drizzle_migrations select * from kept`;
});

test('a role whose connections are all in use gets a retryable error, and is served once one is free', async () => {
  const { sql } = postgres;
  await sql.unsafe(`create role few login in role pg_read_all_data`);
  await sql.unsafe('grant connect on database flovo_own to few');
  const { token } = await addUser(sql, {});
  const app = await startApp({ DATABASE_URL: postgres.urlFor('few') });
  try {
    const client = app.client(token);
    await client.ask(MeDocument, {});
    await sql.unsafe('alter role few connection limit 0');
    await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'few'`;
    await eventually(
      async () => (await client.send(MeDocument, {})).errors?.[0]?.extensions.code === 'UNAVAILABLE',
    );
    await sql.unsafe('alter role few connection limit -1');
    await eventually(async () => expect((await client.send(MeDocument, {})).errors).toBeUndefined());
  } finally {
    await app.close();
  }
});

test('a start does not wait for a lock if there is nothing to migrate', async () => {
  const database = await createDatabase();
  const held = await database.sql.reserve();
  await held`select pg_advisory_lock(${MIGRATION_LOCK})`;
  expect(await migrateDatabase(database.url)).toBe(0);
  await held`select pg_advisory_unlock(${MIGRATION_LOCK})`;
  held.release();
  await database.drop();
});

test('an unreachable database is reported in one sentence, without the password', async () => {
  const reason = await migrateDatabase('postgres://u:hunter2@127.0.0.1:1/db').catch((error: Error) => error);
  expect(reason).toBeInstanceOf(MigrationError);
  expect((reason as Error).message).toMatch(/^The database cannot be reached: .*ECONNREFUSED/);
  expect((reason as Error).message).not.toContain('hunter2');
});
