import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { migrateDatabase } from '../../src/db/migrate.js';
import {
  BotDocument,
  BotsWithStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  RecordMessagesDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { startApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startPgBouncer, type PgBouncer } from '../support/pgbouncer.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** As in src/db/migrate.ts. */
const MIGRATION_LOCK = 7_305_190_412;

const MESSAGE = {
  conversationId: 'c',
  contactId: 'p',
  direction: 'OUTBOUND' as never,
  status: 'DELIVERED' as never,
  text: 'say "hi" \\ {}',
  responseTimeMs: 7,
};

describe.each([
  ['that refuses unknown startup parameters', {}],
  [
    'that ignores them',
    { ignore_startup_parameters: 'extra_float_digits,search_path,statement_timeout,lock_timeout,options' },
  ],
])('behind PgBouncer in transaction mode %s', (_, settings: Record<string, string>) => {
  let database: TestDatabase;
  let bouncer: PgBouncer;

  beforeAll(async () => {
    database = await createDatabase();
    bouncer = await startPgBouncer(database.url, settings);
  });

  afterAll(async () => {
    await bouncer?.stop();
    await database?.drop();
  });

  test('no request fails under load, and writes by SQL are visible', async () => {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const ids = await addBots(database.sql, orgId, 8);
    const app = await startApp({ DATABASE_URL: bouncer.url });
    try {
      const client = app.client(token);
      const work = ids.map(async (id, n) => {
        for (let i = 0; i < 6; i++) {
          await client.ask(UpdateBotDocument, { id, input: { name: `bot ${n} ${i}` } });
          await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE, MESSAGE] });
          await client.ask(BotsWithStatsDocument, { orgId });
          await client.ask(BotDocument, { id });
          const made = await client.ask(CreateBotDocument, { input: { orgId, name: `new ${n} ${i}` } });
          await client.ask(DeleteBotDocument, { id: made.createBot.id });
        }
      });
      await Promise.all(work);
      const answer = await client.ask(BotsWithStatsDocument, { orgId });
      expect(answer.bots.items.map(({ stats }) => stats.totalMessages)).toEqual(ids.map(() => 12));
      const readiness = (await (await fetch(new URL('/readyz', app.url))).json()) as object;
      expect(readiness).toMatchObject({ ready: true, database: 'up', migrated: true });
      expect(app.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
    } finally {
      await app.close();
    }
  });

  test('servers that start at once migrate in turn, and leave no lock behind', async () => {
    const [known] = await database.sql<{ count: number }[]>`
      select count(*)::int as count from drizzle.__drizzle_migrations`;
    await database.sql.unsafe(
      'drop schema drizzle cascade; drop schema public cascade; create schema public',
    );
    const applied = await Promise.all([1, 2, 3].map(async () => await migrateDatabase(bouncer.url)));
    expect(applied.toSorted((one, other) => one - other)).toEqual([0, 0, known?.count]);
    const [left] = await database.sql<{ free: boolean }[]>`
      select pg_try_advisory_xact_lock(${MIGRATION_LOCK}) as free`;
    expect(left).toEqual({ free: true });
  });

  test('a statement that runs too long is cancelled in the database, too', async () => {
    const { id: userId, token } = await addUser(database.sql);
    const app = await startApp({ DATABASE_URL: bouncer.url, DATABASE_STATEMENT_TIMEOUT_MS: '500' });
    const lock = await database.sql.reserve();
    try {
      await lock`begin`;
      await lock`lock table users in access exclusive mode`;
      const failure = await app.client(token).failure(MeDocument, {});
      expect(failure.code).toBe('UNAVAILABLE');
      await eventually(async () => {
        const waiting = await database.sql`
          select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
        return waiting.length === 0;
      });
      await lock`rollback`;
      expect(await app.client(token).ask(MeDocument, {})).toMatchObject({ me: { id: userId } });
    } finally {
      lock.release();
      await app.close();
    }
  });
});

test('a statement whose plan became invalid is repeated with the same arrays', async () => {
  const database = await createDatabase();
  const { token } = await addUser(database.sql);
  const orgId = await addOrganization(database.sql);
  const owner = await addUser(database.sql, { [orgId]: 'OWNER' });
  const [id] = (await addBots(database.sql, orgId, 1)) as [string];
  const app = await startApp({ DATABASE_URL: database.url, DATABASE_POOL_MAX: '1' });
  try {
    await app.client(token).ask(MeDocument, {});
    await app.client(owner.token).ask(BotDocument, { id });
    await database.sql.unsafe('alter table bots alter column name type varchar(200)');
    expect(await app.client(owner.token).ask(BotDocument, { id })).toMatchObject({ bot: { id } });
  } finally {
    await app.close();
    await database.drop();
  }
});
