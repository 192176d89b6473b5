import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import {
  BotsDocument,
  BotsWithStatsDocument,
  RecordMessagesDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** A cached response is reused only while every value in it is valid. */
describe('cached responses', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let app: TestApp;
  let other: TestApp;
  let orgId: string;
  let botIds: string[];
  let token: string;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    botIds = await addBots(database.sql, orgId, 5);
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    const settings = { DATABASE_URL: database.url, REDIS_URL: redis.url };
    [app, other] = await Promise.all([startApp(settings), startApp(settings)]);
  });

  afterAll(async () => {
    await Promise.all([app?.close(), other?.close()]);
    await redis?.stop();
    await database?.drop();
  });

  const givenAgain = async (server: TestApp) =>
    await server.metric('flovo_cache_hits_total', { resource: 'response' });
  const firstBot = () => botIds[0] as string;

  test('the same query of the same caller is executed once', async () => {
    const client = app.client(token);
    const first = await client.send(BotsWithStatsDocument, { orgId });
    const before = await givenAgain(app);
    expect(await client.send(BotsWithStatsDocument, { orgId })).toEqual(first);
    expect(await givenAgain(app)).toBe(before + 1);
  });

  test('a caller gets no response that was cached for another', async () => {
    const stranger = await addUser(database.sql);
    await app.client(token).ask(BotsDocument, { orgId });
    expect(await app.client(stranger.token).failure(BotsDocument, { orgId })).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(await app.client(undefined).failure(BotsDocument, { orgId })).toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  test.each([
    [
      'a bot in it changes',
      async (n: number) => {
        await other.client(token).ask(UpdateBotDocument, { id: firstBot(), input: { name: `renamed ${n}` } });
      },
    ],
    [
      'statistics in it change',
      async (n: number) => {
        const message = {
          conversationId: `c${n}`,
          contactId: 'p',
          direction: 'INBOUND',
          status: 'DELIVERED',
          text: '',
        } as const;
        await other.client(token).ask(RecordMessagesDocument, { botId: firstBot(), messages: [message] });
      },
    ],
  ])('a response is not reused when %s through another process', async (_what, change) => {
    const client = app.client(token);
    for (let n = 0; n < 20; n++) {
      const before = await client.ask(BotsWithStatsDocument, { orgId, limit: 10 });
      expect(await client.ask(BotsWithStatsDocument, { orgId, limit: 10 })).toEqual(before);
      await change(n);
      const after = await client.ask(BotsWithStatsDocument, { orgId, limit: 10 });
      expect(after).not.toEqual(before);
    }
  });

  test('a response is not reused after the caller has left the organization', async () => {
    const member = await addUser(database.sql, { [orgId]: 'VIEWER' });
    const client = app.client(member.token);
    await client.ask(BotsDocument, { orgId, limit: 7 });
    await database.sql`delete from memberships where user_id = ${member.id}`;
    const deadline = performance.now() + 2_000;
    let answer = await client.send(BotsDocument, { orgId, limit: 7 });
    while (answer.errors === undefined && performance.now() < deadline) {
      answer = await client.send(BotsDocument, { orgId, limit: 7 });
    }
    expect(answer.errors?.[0]?.extensions.code).toBe('NOT_FOUND');
  });

  test('responses with errors are not cached', async () => {
    const client = app.client(token);
    const before = await givenAgain(app);
    const failed = await client.send(BotsDocument, { orgId, page: 0 });
    expect(await client.send(BotsDocument, { orgId, page: 0 })).toEqual(failed);
    expect(await givenAgain(app)).toBe(before);
  });

  test('RESPONSE_CACHE=off caches none, and answers the same', async () => {
    const plain = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, RESPONSE_CACHE: 'off' });
    try {
      const expected = await app.client(token).send(BotsWithStatsDocument, { orgId, limit: 3 });
      const client = plain.client(token);
      expect(await client.send(BotsWithStatsDocument, { orgId, limit: 3 })).toEqual(expected);
      expect(await client.send(BotsWithStatsDocument, { orgId, limit: 3 })).toEqual(expected);
      expect(await givenAgain(plain)).toBe(0);
    } finally {
      await plain.close();
    }
  });
});

/** Known documents are compiled; clients must see no difference. */
describe('compiled documents', () => {
  let database: TestDatabase;
  let app: TestApp;
  let orgId: string;
  let token: string;

  beforeAll(async () => {
    database = await createDatabase();
    orgId = await addOrganization(database.sql);
    await addBots(database.sql, orgId, 3);
    ({ token } = await addUser(database.sql, { [orgId]: 'VIEWER' }));
    app = await startApp({ DATABASE_URL: database.url });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const MISSING = '00000000-0000-4000-8000-000000000000';
  test.each<[string, string, object]>([
    [
      'data',
      'query ($orgId: ID!) { bots(orgId: $orgId) { total items { name status createdAt startedAt } } }',
      {},
    ],
    [
      'aliases, fragments and directives',
      `query ($orgId: ID!, $no: Boolean = false) {
      a: bots(orgId: $orgId, limit: 1) { ...P } b: bots(orgId: $orgId, limit: 2) { ... on BotPage { total @skip(if: $no) } __typename }
    } fragment P on BotPage { items { id @include(if: $no) name } }`,
      {},
    ],
    [
      'an error of one of our own in a nullable field',
      `query { a: bot(id: "${MISSING}") { name } me { email } }`,
      {},
    ],
    ['an error of one of our own in a non-null field', `query { bots(orgId: "${MISSING}") { total } }`, {}],
    ['bad input', 'query ($orgId: ID!) { bots(orgId: $orgId, page: 0) { total } }', {}],
    ['a missing variable', 'query ($id: ID!) { bot(id: $id) { name } }', {}],
    [
      'a variable of the wrong type',
      'query ($orgId: ID!, $page: Int) { bots(orgId: $orgId, page: $page) { total } }',
      { page: 'x' },
    ],
    [
      'a variable that is too large',
      'query ($orgId: ID!, $page: Int) { bots(orgId: $orgId, page: $page) { total } }',
      { page: 1e12 },
    ],
    [
      'an unknown enum value in an input',
      'mutation ($s: MessageStatus!) { updateMessageStatus(id: "x", status: $s) { id } }',
      { s: 'LOST' },
    ],
    ['introspection', '{ __schema { queryType { name } } __type(name: "Bot") { fields { name } } }', {}],
  ])('answer %s as uncompiled ones do', async (_what, query, variables) => {
    const answers = [];
    for (let i = 0; i < 5; i++)
      answers.push(await app.client(token).sendText(query, { orgId, ...variables }));
    const [uncompiled, ...rest] = answers;
    for (const answer of rest) expect(answer).toEqual(uncompiled);
  });

  test('an unexpected error is masked and logged under its request id', async () => {
    await database.sql`alter table bots rename to hidden`;
    try {
      for (let i = 0; i < 5; i++) {
        const { errors } = await app
          .client(token)
          .sendText('query ($o: ID!) { bots(orgId: $o, limit: 9) { total } }', { o: orgId });
        expect(errors?.[0]).toMatchObject({
          message: 'Internal server error',
          path: ['bots'],
          extensions: { code: 'INTERNAL_SERVER_ERROR' },
        });
        const requestId = errors?.[0]?.extensions.requestId;
        expect(app.logs.find((entry) => entry.requestId === requestId)).toMatchObject({ level: 50 });
      }
    } finally {
      await database.sql`alter table hidden rename to bots`;
    }
  });
});
