import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

let database: TestDatabase;
let redis: RedisService;
let app: TestApp;
let token: string;
let orgId: string;
let botId: string;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  orgId = await addOrganization(database.sql);
  [botId] = (await addBots(database.sql, orgId, 20)) as [string];
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
  app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
});

afterAll(async () => {
  await app?.close();
  await redis?.stop();
  await database?.drop();
});

/** How often operations were executed by plans and by graphql-js while something was done. */
async function executionsOf(action: () => Promise<unknown>): Promise<{ plan: number; graphqlJs: number }> {
  const count = async (by: string) => await app.metric('flovo_graphql_executions_total', { by });
  const before = [await count('plan'), await count('graphql-js')] as const;
  await action();
  return { plan: (await count('plan')) - before[0], graphqlJs: (await count('graphql-js')) - before[1] };
}

let sent = 0;

/** Sends an operation several times, each time with another key of the response. */
const send = async (text: string, variables: object, times: number) => {
  const client = app.client(token);
  let last: unknown;
  for (let time = 0; time < times; time++) last = await client.sendText(text, { ...variables, sent: ++sent });
  return last as { data: Record<string, unknown>; errors?: unknown[] };
};

test('a query whose document is known is executed by its plan', async () => {
  const text = 'query ($orgId: ID!) { bots(orgId: $orgId) { items { id stats { id totalMessages } } } }';
  expect(await executionsOf(async () => await send(text, { orgId }, 5))).toEqual({ plan: 4, graphqlJs: 0 });
});

test('mutations and introspection are executed by graphql-js', async () => {
  const rename = 'mutation ($id: ID!) { updateBot(id: $id, input: { name: "renamed" }) { name } }';
  expect(await executionsOf(async () => await send(rename, { id: botId }, 3))).toEqual({
    plan: 0,
    graphqlJs: 2,
  });
  const schema = '{ __schema { queryType { name } } }';
  expect(await executionsOf(async () => await send(schema, {}, 3))).toEqual({ plan: 0, graphqlJs: 2 });
});

test('a query that fails again and again is seldom begun by its plan', async () => {
  const text = 'query ($id: ID!) { bot(id: $id) { name } }';
  const failing = { id: '00000000-0000-4000-8000-000000000000' };
  // By the plan the 1st, 3rd, 6th, 11th, 20th and 37th time that the document is known.
  const { plan, graphqlJs } = await executionsOf(async () => await send(text, failing, 51));
  expect(plan).toBe(6);
  expect(graphqlJs).toBe(50);
  // It succeeds once the executions that are left to graphql-js have passed, and from then on every time.
  await send(text, { id: botId }, 64);
  expect(await executionsOf(async () => await send(text, { id: botId }, 10))).toEqual({
    plan: 10,
    graphqlJs: 0,
  });
});

test('a page that has changed is answered as it is, although its former bots were read ahead', async () => {
  const text =
    'query ($orgId: ID!) { bots(orgId: $orgId, limit: 5) { total items { id name stats { botId totalMessages } } } }';
  const before = await send(text, { orgId }, 3);
  const { data } = await send(
    'mutation ($orgId: ID!) { createBot(input: { orgId: $orgId, name: "the newest" }) { id } }',
    { orgId },
    1,
  );
  const { id } = data.createBot as { id: string };
  const { items } = before.data.bots as { items: unknown[] };
  const after = await send(text, { orgId }, 1);
  expect(after.errors).toBeUndefined();
  expect(after.data.bots).toEqual({
    total: 21,
    items: [{ id, name: 'the newest', stats: { botId: id, totalMessages: 0 } }, ...items.slice(0, 4)],
  });
});
