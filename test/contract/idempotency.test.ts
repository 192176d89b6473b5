import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'graphql';

import {
  AddMessagesDocument,
  BotDocument,
  BotsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import { connectDatabase, type DatabaseConnection } from '../../src/db/client.js';
import { KeptOutcomeRepository } from '../../src/mutations/kept-outcome.repository.js';
import { startApp, type TestApp } from '../support/app.js';
import { Client, type GraphQLAnswer } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

type Headers = Record<string, string>;
type Answer = GraphQLAnswer<Record<string, unknown>>;

interface Target {
  readonly orgId: string;
  readonly botId: string;
  readonly messageId: string;
}

const MESSAGE = {
  conversationId: 'conversation',
  contactId: 'contact',
  direction: 'OUTBOUND',
  status: 'PENDING',
  text: 'Hello',
} as const;

const MUTATIONS: readonly [string, (client: Client, target: Target, headers: Headers) => Promise<Answer>][] =
  [
    [
      'createBot',
      async (client, { orgId }, headers) =>
        await client.send(CreateBotDocument, { input: { orgId, name: 'new' } }, headers),
    ],
    [
      'updateBot',
      async (client, { botId: id }, headers) =>
        await client.send(UpdateBotDocument, { id, input: { name: 'renamed' } }, headers),
    ],
    [
      'updateBot with an expected version',
      async (client, { botId: id }, headers) =>
        await client.send(UpdateBotDocument, { id, input: { name: 'renamed', expectedVersion: 1 } }, headers),
    ],
    [
      'startBot',
      async (client, { botId: id }, headers) => await client.send(StartBotDocument, { id }, headers),
    ],
    [
      'deleteBot',
      async (client, { botId: id }, headers) => await client.send(DeleteBotDocument, { id }, headers),
    ],
    [
      'recordMessages',
      async (client, { botId }, headers) =>
        await client.send(RecordMessagesDocument, { botId, messages: [MESSAGE, MESSAGE] }, headers),
    ],
    [
      'addMessages',
      async (client, { botId }, headers) =>
        await client.send(AddMessagesDocument, { botId, messages: [MESSAGE, MESSAGE] }, headers),
    ],
    [
      'updateMessageStatus',
      async (client, { messageId: id }, headers) =>
        await client.send(UpdateMessageStatusDocument, { id, status: 'DELIVERED' }, headers),
    ],
  ];

describe('a mutation with an Idempotency-Key', () => {
  let fixture: Fixture;
  let other: TestApp;
  let connection: DatabaseConnection;

  beforeAll(async () => {
    fixture = await createFixture();
    connection = connectDatabase({ url: fixture.database.url, poolMax: 1 });
    other = await startApp({ DATABASE_URL: fixture.database.url, REDIS_URL: fixture.redis.url });
  });

  afterAll(async () => {
    await connection?.close();
    await other?.close();
    await fixture?.close();
  });

  const withKey = (key: string = randomUUID()): Headers => ({ 'idempotency-key': key });

  const onOther = ({ token }: Client): Client => other.client(token);

  const newTarget = async (): Promise<Target> => {
    const { database, orgId } = fixture;
    const [botId = ''] = await addBots(database.sql, orgId, 1);
    const [message] = await database.sql<[{ id: string }]>`
      insert into messages (bot_id, conversation_id, contact_id, direction) values (${botId}, 'c', 'p', 'OUTBOUND')
      returning id`;
    return { orgId, botId, messageId: message.id };
  };

  /** Everything that has been written, however. */
  const written = async (): Promise<unknown> => {
    const { sql } = fixture.database;
    return [
      await sql`select id, xmin::text, ctid::text from bots order by id`,
      await sql`select id, xmin::text, ctid::text from messages order by id`,
    ];
  };

  const codes = ({ errors = [] }: Answer) => errors.map(({ extensions }) => extensions.code);

  const usedKeys = async (key: string): Promise<number> =>
    (await fixture.database.sql`select from idempotency_keys where key = ${key}`).length;

  test.each(MUTATIONS)(
    '%s is made once, and a repeated request gets the same answer',
    async (_name, mutate) => {
      const { owner } = fixture;
      const target = await newTarget();
      const headers = withKey();
      const first = await mutate(owner, target, headers);
      expect(first.errors).toBeUndefined();
      const after = await written();
      for (const client of [owner, onOther(owner)]) {
        const again = await mutate(client, target, headers);
        expect(withoutTimes(again)).toEqual(withoutTimes(first));
        expect(await written()).toEqual(after);
      }
    },
  );

  test('answers a repeated request with the outcome of the first, whatever was changed since', async () => {
    const { owner } = fixture;
    const { botId: id } = await newTarget();
    const headers = withKey();
    const { data: first } = await owner.send(StartBotDocument, { id }, headers);
    await owner.ask(StopBotDocument, { id });
    const { data: again } = await owner.send(StartBotDocument, { id }, headers);
    expect(again).toEqual(first);
    expect((await owner.ask(BotDocument, { id })).bot).toMatchObject({ status: 'STOPPED', version: 3 });
  });

  test.each(MUTATIONS)(
    '%s, sent by many at the same time, is made once, and all get its answer',
    async (_name, mutate) => {
      const { owner } = fixture;
      const target = await newTarget();
      const headers = withKey();
      const countBots = async () => (await fixture.database.sql`select from bots`).length;
      const before = await countBots();
      const clients = Array.from({ length: 12 }, (_, i) => (i % 2 === 0 ? owner : onOther(owner)));
      const answers = await Promise.all(clients.map(async (client) => await mutate(client, target, headers)));
      const [first] = answers as [Answer];
      expect(first.errors).toBeUndefined();
      for (const answer of answers) expect(withoutTimes(answer)).toEqual(withoutTimes(first));
      const { sql } = fixture.database;
      if (_name === 'createBot') expect(await countBots()).toBe(before + 1);
      if (_name.endsWith('Messages')) {
        expect(await sql`select from messages where bot_id = ${target.botId}`).toHaveLength(3);
      }
      expect(await usedKeys(headers['idempotency-key'] ?? '')).toBe(1);
    },
  );

  test('waits for the first request while that is under way', async () => {
    const { owner, database, orgId } = fixture;
    const headers = withKey();
    const create = async () =>
      await owner.send(CreateBotDocument, { input: { orgId, name: 'waited for' } }, headers);
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`select from bot_counts where org_id = ${orgId} for update`;
    const both = [create(), create()];
    await waitForLocks(2);
    await lock`rollback`;
    lock.release();
    const [first, second] = await Promise.all(both);
    expect(first?.data).toEqual(second?.data);
    expect(await database.sql`select from bots where name = 'waited for'`).toHaveLength(1);
  });

  const waitForLocks = async (count: number): Promise<void> => {
    await eventually(async () => {
      const waiting = await fixture.database.sql`select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      return waiting.length === count;
    });
  };

  describe.each([
    ['other variables', CreateBotDocument, { name: 'other' }],
    [
      'another selection',
      parse('mutation CreateBot($input: CreateBotInput!) { createBot(input: $input) { id } }'),
      {},
    ],
    [
      'another operation name',
      parse('mutation Other($input: CreateBotInput!) { createBot(input: $input) { id name } }'),
      {},
    ],
    [
      'other mutations before it',
      parse(`mutation CreateBot($input: CreateBotInput!) {
        first: updateBot(id: "00000000-0000-4000-8000-000000000000", input: { name: "x" }) { id }
        createBot(input: $input) { id }
      }`),
      {},
    ],
  ])('with %s', (_what, document, change) => {
    test('is refused if the key was used before', async () => {
      const { editor, orgId } = fixture;
      const headers = withKey();
      const input = { orgId, name: 'of one request' };
      expect((await editor.send(CreateBotDocument, { input }, headers)).errors).toBeUndefined();
      const before = await written();
      const answer = await editor.send(document, { input: { ...input, ...change } }, headers);
      for (const error of answer.errors ?? []) {
        expect(error).toMatchObject({
          message: 'Idempotency-Key was used for another request before',
          extensions: { code: 'BAD_USER_INPUT', field: 'Idempotency-Key' },
        });
      }
      expect(answer.errors?.length).toBeGreaterThan(0);
      expect(await written()).toEqual(before);
    });
  });

  test('does not depend on the order of the variables, and on whether the document is persisted', async () => {
    const { editor, orgId } = fixture;
    const headers = withKey();
    const query = 'mutation ($input: CreateBotInput!) { createBot(input: $input) { id } }';
    const first = await editor.sendText(query, { input: { orgId, name: 'a', description: 'b' } }, headers);
    const again = await editor.sendText(query, { input: { description: 'b', name: 'a', orgId } }, headers);
    expect(first.errors).toBeUndefined();
    expect(again).toEqual(first);
  });

  test('is made again for another key, without a key, and for another user with the same key', async () => {
    const { owner, editor, orgId, database } = fixture;
    const create = async (client: Client, headers?: Headers) =>
      await client.send(CreateBotDocument, { input: { orgId, name: 'made often' } }, headers);
    const key = withKey();
    for (const headers of [key, withKey(), undefined, undefined]) await create(owner, headers);
    await create(editor, key);
    expect(await database.sql`select from bots where name = 'made often'`).toHaveLength(5);
  });

  test.each([
    ['an empty one', ''],
    ['256 characters', 'k'.repeat(256)],
    ['a blank', 'a b'],
    ['a character outside the ASCII', 'sch\u00f6n'],
  ])('is refused if the key is %s', async (_what, key) => {
    const { editor, orgId } = fixture;
    const answer = await editor.send(CreateBotDocument, { input: { orgId, name: 'bad key' } }, withKey(key));
    expect(answer.errors).toMatchObject([
      {
        message: 'Idempotency-Key must have 1 to 255 visible ASCII characters',
        extensions: { code: 'BAD_USER_INPUT', field: 'Idempotency-Key' },
      },
    ]);
    expect(await fixture.database.sql`select from bots where name = 'bad key'`).toHaveLength(0);
  });

  test.each([
    ['a character', '!'],
    ['255 characters', '~'.repeat(255)],
    ['a quoted uuid', '"7f3c"'],
  ])('accepts %s as the key', async (_what, key) => {
    const { editor, orgId } = fixture;
    const input = { orgId, name: 'good key' };
    expect((await editor.send(CreateBotDocument, { input }, withKey(key))).errors).toBeUndefined();
    expect(await usedKeys(key)).toBe(1);
  });

  test('queries ignore the header', async () => {
    const { viewer, orgId } = fixture;
    for (const key of ['a', '']) {
      for (const limit of [1, 2]) {
        expect((await viewer.send(BotsDocument, { orgId, limit }, withKey(key))).errors).toBeUndefined();
      }
    }
  });

  test('with several fields: a repeated request makes only those that were not made', async () => {
    const { editor, orgId, database } = fixture;
    const { botId: id } = await newTarget();
    const query = `mutation ($orgId: ID!, $id: ID!) {
      a: createBot(input: { orgId: $orgId, name: "one of several" }) { id name }
      b: updateBot(id: $id, input: { name: "second", expectedVersion: 2 }) { name version }
      c: createBot(input: { orgId: $orgId, name: "one of several" }) { id name }
    }`;
    const headers = withKey();
    const first = await editor.sendText<Record<'a' | 'b' | 'c', { id: string }>>(
      query,
      { orgId, id },
      headers,
    );
    expect(codes(first)).toEqual(['CONFLICT']);
    // `updateBot` must not be null, so the answer has no data, and `c` was not begun.
    const count = async () => (await database.sql`select from bots where name = 'one of several'`).length;
    expect(await count()).toBe(1);
    await editor.ask(UpdateBotDocument, { id, input: { name: 'version 2' } });
    const again = await editor.sendText<Record<'a' | 'b' | 'c', { id: string }>>(
      query,
      { orgId, id },
      headers,
    );
    expect(again.errors).toBeUndefined();
    expect(again.data).toMatchObject({ b: { name: 'second', version: 3 } });
    expect(again.data?.a.id).not.toBe(again.data?.c.id);
    expect(await editor.sendText(query, { orgId, id }, headers)).toEqual(again);
    expect(await count()).toBe(2);
  });

  test('keeps nothing if it was refused: the same request can succeed later', async () => {
    const { viewer, editor, orgId, database } = fixture;
    const { botId: id } = await newTarget();
    const refused: [Client, () => Promise<Answer>, string][] = [];
    const attempt = (client: Client, code: string, send: (headers: Headers) => Promise<Answer>) => {
      const headers = withKey();
      refused.push([client, async () => await send(headers), code]);
    };
    attempt(viewer, 'FORBIDDEN', async (headers) => await viewer.send(StartBotDocument, { id }, headers));
    attempt(
      editor,
      'CONFLICT',
      async (headers) =>
        await editor.send(UpdateBotDocument, { id, input: { name: 'x', expectedVersion: 7 } }, headers),
    );
    attempt(
      editor,
      'NOT_FOUND',
      async (headers) => await editor.send(StartBotDocument, { id: randomUUID() }, headers),
    );
    attempt(
      editor,
      'BAD_USER_INPUT',
      async (headers) => await editor.send(CreateBotDocument, { input: { orgId, name: '' } }, headers),
    );
    const before = await database.sql`select from idempotency_keys`;
    for (const [, send, code] of refused) {
      expect(codes(await send())).toEqual([code]);
      expect(codes(await send())).toEqual([code]);
    }
    expect(await database.sql`select from idempotency_keys`).toHaveLength(before.length);
  });

  test('checks the access of the caller for each repeated request', async () => {
    const { database } = fixture;
    const orgId = await addOrganization(database.sql, 'Left');
    const { id: userId, token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const client = fixture.app.client(token);
    const headers = withKey();
    const input = { orgId, name: 'seen once' };
    const create = async () => await client.send(CreateBotDocument, { input }, headers);
    const { data } = await create();
    const id = data?.createBot.id ?? '';
    const deletion = withKey();
    await client.send(DeleteBotDocument, { id }, deletion);
    const remove = async () => await client.send(DeleteBotDocument, { id }, deletion);
    expect(await remove()).toMatchObject({ data: { deleteBot: id } });

    await database.sql`update memberships set role = 'EDITOR' where user_id = ${userId}`;
    expect((await create()).data).toEqual(data);
    expect(codes(await remove())).toEqual(['FORBIDDEN']);
    await database.sql`update memberships set role = 'VIEWER' where user_id = ${userId}`;
    expect(codes(await create())).toEqual(['FORBIDDEN']);
    await database.sql`delete from memberships where user_id = ${userId}`;
    expect(codes(await create())).toEqual(['NOT_FOUND']);
    expect(codes(await remove())).toEqual(['NOT_FOUND']);
    await database.sql`delete from users where id = ${userId}`;
    expect(codes(await create())).toEqual(['UNAUTHENTICATED']);
    expect(
      codes(await new Client(client.url, undefined).send(CreateBotDocument, { input }, headers)),
    ).toEqual(['UNAUTHENTICATED']);
  });

  test('is made again after a day', async () => {
    const { editor, orgId, database } = fixture;
    const headers = withKey();
    const send = async () =>
      await editor.send(CreateBotDocument, { input: { orgId, name: 'daily' } }, headers);
    await send();
    const age = async (hours: number) =>
      await database.sql`update idempotency_keys set kept_at = now() - make_interval(hours => ${hours})
        where key = ${headers['idempotency-key'] ?? ''}`;
    const bots = async () => (await database.sql`select from bots where name = 'daily'`).length;
    const prune = async () => await new KeptOutcomeRepository(connection.db).prune(1_000);
    await age(23);
    expect(await prune()).toBe(0);
    await send();
    expect(await bots()).toBe(1);
    await age(25);
    expect(await prune()).toBe(1);
    await send();
    expect(await bots()).toBe(2);
  });
});

/** Statistics say when they were read. */
const withoutTimes = (answer: Answer): unknown =>
  JSON.parse(JSON.stringify(answer, (name, value: unknown) => (name === 'computedAt' ? undefined : value)));
