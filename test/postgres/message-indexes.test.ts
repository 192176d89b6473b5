import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';

import { migrateDatabase, MIGRATIONS } from '../../src/db/migrate.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';

const INDEXES = ['messages_conversation_idx', 'messages_kind_idx', 'messages_page_idx'];

let database: OwnPostgres;

beforeAll(async () => {
  database = await startOwnPostgres({});
  await migrateDatabase(database.urlFor());
}, 60_000);

afterAll(async () => {
  await database?.stop();
});

/** Restores the state before the migration that adds the indexes, except for the indexes themselves. */
beforeEach(async () => {
  await database.sql.unsafe(`
    drop trigger messages_90_log_truncate on messages;
    drop trigger messages_91_log_replicated on messages;
    drop function messages_log_replicated();
    create index messages_bot_idx on messages (bot_id, created_at desc)`);
});

/** Runs the migration as {@link migrateDatabase} would. */
const migrate = async () => {
  const text = await readFile(path.join(MIGRATIONS, '0009_message_pages.sql'), 'utf8');
  await database.sql.begin(async (tx) => {
    for (const statement of text.split('--> statement-breakpoint')) await tx.unsafe(statement);
  });
};

const indexes = async () =>
  await database.sql<{ name: string; oid: number; valid: boolean }[]>`
    select c.relname as name, c.oid::int as oid, i.indisvalid as valid from pg_index as i join pg_class as c on c.oid = indexrelid
    where indrelid = 'messages'::regclass and not indisprimary order by 1`;

test('the migration keeps indexes that were built concurrently before it', async () => {
  const before = (await indexes()).filter(({ name }) => name !== 'messages_bot_idx');
  await migrate();
  expect([...(await indexes())]).toEqual(before);
  expect(before.map(({ name }) => name)).toEqual(INDEXES);
});

test('the migration rebuilds an index that an interrupted CREATE INDEX CONCURRENTLY left invalid', async () => {
  await database.sql`update pg_index set indisvalid = false where indexrelid = 'messages_kind_idx'::regclass`;
  await migrate();
  expect((await indexes()).map(({ name, valid }) => [name, valid])).toEqual(
    INDEXES.map((name) => [name, true]),
  );
});
