import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import {
  BotDocument,
  BotsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  RecordMessagesDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

describe('a transient failure of PostgreSQL', () => {
  let database: TestDatabase;
  let name: string;
  let app: TestApp;
  let client: Client;
  let orgId: string;

  beforeEach(async () => {
    database = await createDatabase();
    const [row] = await database.sql<{ name: string }[]>`select current_database() as name`;
    name = row?.name ?? '';
    orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    app = await startApp({ DATABASE_URL: database.url });
    client = app.client(token);
  });

  afterEach(async () => {
    await app?.close();
    await database?.drop();
  });

  /** Ends the server's connections, busy ones included, as an administrator does. */
  const endAll = async (): Promise<void> => {
    await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = ${name} and application_name = 'flovo-bots'`;
  };

  test('no read fails while PostgreSQL ends sessions that are idle for a moment', async () => {
    await app.close();
    await database.sql.unsafe(`alter database ${name} set idle_session_timeout = '100ms'`);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    app = await startApp({ DATABASE_URL: database.url });
    client = app.client(token);
    const ids = await addBots(database.sql, orgId, 4);
    for (let i = 0; i < 40; i++) {
      const id = ids[i % ids.length] as string;
      expect(await client.ask(BotDocument, { id })).toMatchObject({ bot: { id } });
      // Requests around the moment at which the session ends.
      await new Promise((resolve) => setTimeout(resolve, 92 + (i % 12)));
    }
  });

  test('no request fails after PostgreSQL has ended all sessions', async () => {
    for (let i = 0; i < 15; i++) {
      await endAll();
      const [me, bots, created] = await Promise.all([
        client.send(MeDocument, {}),
        client.send(BotsDocument, { orgId, page: i + 1 }),
        client.send(CreateBotDocument, { input: { orgId, name: `bot ${i}` } }),
      ]);
      expect([me.errors, bots.errors]).toEqual([undefined, undefined]);
      // A mutation whose session ends during its write gets an error and is not repeated.
      if (created.errors) expect(created.errors).toMatchObject([{ extensions: { code: 'UNAVAILABLE' } }]);
    }
  });

  test('a write whose outcome is unknown is not repeated, and its error says so', async () => {
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`select from bots where id = ${id} for update`;
    const running = client.send(UpdateBotDocument, { id, input: { name: 'never' } });
    await eventually(async () => {
      const ended = await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = ${name} and application_name = 'flovo-bots' and wait_event_type = 'Lock'`;
      return ended.length === 1;
    });
    expect((await running).errors).toMatchObject([
      { extensions: { code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' } },
    ]);
    await lock`rollback`;
    lock.release();
    // The error depends on whether the server reads the end of the connection or PostgreSQL's message first.
    expect(JSON.stringify(app.logs)).toMatch(/terminating connection|CONNECTION_CLOSED/);
  });

  test('while the database is read-only, reads continue and writes get a retryable error', async () => {
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    await database.sql.unsafe(`alter database ${name} set default_transaction_read_only = on`);
    await endAll();
    await client.ask(BotDocument, { id });
    expect((await client.failure(UpdateBotDocument, { id, input: { name: 'x' } })).code).toBe('UNAVAILABLE');
    const writable = await database.sql.reserve();
    await writable.unsafe('set session characteristics as transaction read write');
    await writable.unsafe(`alter database ${name} set default_transaction_read_only = off`);
    writable.release();
    await client.ask(UpdateBotDocument, { id, input: { name: 'x' } });
  });

  test('updates of messages during the deletion of their bot cause no deadlock error', async () => {
    for (let round = 0; round < 3; round++) {
      const [id] = (await addBots(database.sql, orgId, 1)) as [string];
      const rows = await database.sql<{ id: string }[]>`
        insert into messages (bot_id, conversation_id, contact_id, direction)
        select ${id}, 'c' || n % 100, 'p', 'OUTBOUND' from generate_series(1, 20000) as n returning id`;
      const deleting = client.send(DeleteBotDocument, { id });
      // The delete reaches these rows last.
      const updating = rows
        .slice(-40)
        .map(
          async (row) =>
            await client.send(UpdateMessageStatusDocument, { id: row.id, status: 'FAILED' as never }),
        );
      const answers = await Promise.all([deleting, ...updating]);
      const codes = new Set(
        answers.flatMap(({ errors = [] }) => errors.map(({ extensions }) => extensions.code)),
      );
      codes.delete('NOT_FOUND');
      expect([...codes]).toEqual([]);
      expect((await deleting).data).toMatchObject({ deleteBot: id });
    }
  }, 60_000);

  test('many writers in differing orders, some by SQL, lose nothing and cause no internal error', async () => {
    const ids = await addBots(database.sql, orgId, 6);
    const message = {
      conversationId: 'c',
      contactId: 'p',
      direction: 'OUTBOUND' as never,
      status: 'PENDING' as never,
      text: '',
    };
    const outsiders = { areOver: false, deadlocks: 0 };
    const outside = [ids, ids.toReversed()].map(async (order) => {
      while (!outsiders.areOver) {
        await database.sql
          .begin(async (tx) => {
            for (const id of order)
              await tx`update bots set description = ${String(Math.random())} where id = ${id}`;
          })
          .catch((error: { code?: string }) => {
            if (error.code !== '40P01') throw error as Error;
            outsiders.deadlocks += 1;
          });
      }
    });
    const recorded = new Map(ids.map((id) => [id, 0]));
    const codes: string[] = [];
    const writers = Array.from({ length: 8 }, async (_, n) => {
      for (let i = 0; i < 25; i++) {
        const id = ids[(n * 5 + i * 7) % ids.length] as string;
        const answers = await Promise.all([
          client.send(RecordMessagesDocument, { botId: id, messages: [message, message] }),
          client.send(UpdateBotDocument, { id, input: { name: `n ${n} ${i}` } }),
        ]);
        if (!answers[0].errors) recorded.set(id, (recorded.get(id) ?? 0) + 2);
        for (const { errors = [] } of answers) codes.push(...errors.map(({ extensions }) => extensions.code));
      }
    });
    await Promise.all(writers);
    outsiders.areOver = true;
    await Promise.all(outside);
    expect(codes).toEqual([]);
    const rows = await database.sql<{ id: string; messages: number; outbound: number }[]>`
      select s.bot_id as id, s.outbound::int, (select count(*)::int from messages m where m.bot_id = s.bot_id) as messages
      from bot_stats s where s.bot_id in ${database.sql(ids)}`;
    for (const { id, messages, outbound } of rows)
      expect({ id, messages, outbound }).toEqual({
        id,
        messages: recorded.get(id),
        outbound: recorded.get(id),
      });
    expect(outsiders.deadlocks).toBeGreaterThan(0);
  }, 60_000);
});
