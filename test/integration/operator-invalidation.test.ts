import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';

import { views } from '../cache/api.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { writeUnlogged } from '../support/unlogged-writes.js';

jest.setTimeout(60_000);

const TOKEN = 'the-token-of-the-operators-in-this-test';

let database: TestDatabase;
let redis: RedisService;
/** Between `app` and Redis. */
let proxy: TcpProxy;
let app: TestApp;
let other: TestApp;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  proxy = await TcpProxy.before(redis.url);
  const settings = { DATABASE_URL: database.url, REDIS_TIMEOUT_MS: '1000', OPERATOR_TOKEN: TOKEN };
  app = await startApp({ ...settings, REDIS_URL: proxy.url });
  other = await startApp({ ...settings, REDIS_URL: redis.url });
});

afterAll(async () => {
  await app?.close();
  await other?.close();
  proxy?.close();
  await redis?.stop();
  await database?.drop();
});

interface Answer {
  readonly status: number;
  readonly body: { errors?: [{ message: string; extensions: { code: string; field?: string } }] };
}

const asOperator = { authorization: `Bearer ${TOKEN}` };

/** Sends a body to the endpoint. `node:http` also sends the headers that `fetch` sets itself. */
async function invalidate(
  body: unknown,
  headers: Record<string, string> = asOperator,
  at: TestApp = app,
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = request(
      new URL('/admin/cache/invalidate', at.url),
      { method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answer['body'] }),
        );
      },
    );
    asked.on('error', reject);
    asked.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

describe('what is cached on two servers, and changed without a trace in the log,', () => {
  let orgId: string;
  let botId: string;
  let clients: Client[];

  beforeEach(async () => {
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    clients = [app.client(token), other.client(token)];
    // The second time, whole responses are cached.
    for (let i = 0; i < 2; i++) await names();
    await writeUnlogged(
      database.sql,
      'bots',
      async (sql) => await sql`update bots set name = 'bot changed' where id = ${botId}`,
    );
  });

  /** The bot's name in every kind of read, on both servers. */
  const names = async (): Promise<Set<string | undefined>> => {
    const seen = await Promise.all(clients.map(async (client) => await views(client, orgId, botId)));
    const bots = seen.flatMap(({ bot, details, list, search, listWithStats, organization }) => [
      bot,
      details,
      list,
      search,
      listWithStats,
      organization,
    ]);
    return new Set(bots.map((bot) => (bot as { name: string } | undefined)?.name));
  };

  test.each<[string, () => object]>([
    ['the tags', () => ({ tags: [`bot:${botId}`, `org:${orgId}`] })],
    ['the tags in capitals', () => ({ tags: [`BOT:${botId.toUpperCase()}`, `org:${orgId.toUpperCase()}`] })],
    ['the bot', () => ({ bots: [botId] })],
    ['the organization, and a tag', () => ({ organizations: [orgId], tags: [`bot:${botId}`] })],
    ['everything', () => ({ everything: true })],
  ])('is shown by both as soon as an operator has invalidated %s', async (_what, body) => {
    expect(await names()).toEqual(new Set(['bot 1']));
    expect((await invalidate(body())).status).toBe(200);
    expect(await names()).toEqual(new Set(['bot changed']));
  });

  test('is shown by both if Redis is frozen meanwhile, and after it is back', async () => {
    expect(await names()).toEqual(new Set(['bot 1']));
    redis.freeze();
    try {
      expect((await invalidate({ everything: true })).status).toBe(200);
      expect(await names()).toEqual(new Set(['bot changed']));
    } finally {
      redis.thaw();
    }
    for (const { app: server } of [app, other])
      await eventually(async () => (await server.readiness()).cache === 'up');
    expect(await names()).toEqual(new Set(['bot changed']));
  });

  test('is shown by both as soon as an operator has invalidated it at a server that cannot reach Redis', async () => {
    expect(await names()).toEqual(new Set(['bot 1']));
    proxy.refuse();
    try {
      await eventually(async () => (await app.app.readiness()).cache === 'down');
      expect((await invalidate({ bots: [botId] })).status).toBe(200);
      expect(await names()).toEqual(new Set(['bot changed']));
    } finally {
      await proxy.resume();
      await eventually(async () => (await app.app.readiness()).cache === 'up');
    }
  });

  test('stays as it was cached if an operator names another bot', async () => {
    expect((await invalidate({ bots: [randomUUID()] })).status).toBe(200);
    expect(await names()).toEqual(new Set(['bot 1']));
  });
});

test('a call is logged with what it invalidates and its request id, and without the token', async () => {
  const bots = [randomUUID()];
  const id = 'the-request-of-an-operator';
  expect((await invalidate({ bots }, { ...asOperator, 'x-request-id': id })).status).toBe(200);
  const entry = app.logs.find(({ requestId }) => requestId === id);
  expect(entry).toMatchObject({ level: 30, targets: { bots } });
  expect(JSON.stringify(app.logs)).not.toContain(TOKEN);
});

describe('a body that breaks a rule is refused, and the error names the field and the rule:', () => {
  const id = randomUUID();
  test.each<[string, unknown, string, RegExp]>([
    ['nothing', {}, 'input', /at least one of tags, bots, organizations and everything/],
    ['a list', [], 'input', /must be an object/],
    ['an unknown field', { bots: [id], all: true }, 'input', /must have no field all/],
    ['no list', { bots: id }, 'bots', /must be a list/],
    ['an empty list', { organizations: [] }, 'organizations', /must not be empty/],
    ['a long list', { bots: Array(1_001).fill(id) }, 'bots', /at most 1000 entries/],
    ['no uuid', { bots: [id, 'x'] }, 'bots.1', /must be a uuid/],
    ['no tag', { tags: [`bots:${id}`] }, 'tags.0', /must be bot:<id>/],
    ['a tag of everything', { tags: ['*'] }, 'tags.0', /must be bot:<id>/],
    ['no number', { tags: [7] }, 'tags.0', /must be bot:<id>/],
    ['everything: false', { everything: false }, 'everything', /must be true/],
  ])('%s', async (_what, body, field, rule) => {
    const answer = await invalidate(body);
    expect(answer).toMatchObject({
      status: 400,
      body: {
        errors: [{ message: expect.stringMatching(rule), extensions: { code: 'BAD_USER_INPUT', field } }],
      },
    });
  });

  test.each<[string, string, Record<string, string>, number]>([
    ['no JSON', '{', {}, 400],
    ['no body', '', {}, 400],
    ['a form', '{"everything":true}', { 'content-type': 'text/plain' }, 415],
    ['a body that is too large', JSON.stringify('x'.repeat(600_000)), {}, 413],
  ])('%s', async (_what, body, headers, status) => {
    expect((await invalidate(body, { ...asOperator, ...headers })).status).toBe(status);
  });
});

describe('only operators may invalidate:', () => {
  const everything = { everything: true };
  const own = () => new URL(app.url).origin;

  test.each<[string, Record<string, string>, number, string]>([
    ['a call without a token', {}, 401, 'UNAUTHENTICATED'],
    ['a call with another token', { authorization: `Bearer ${TOKEN}x` }, 401, 'UNAUTHENTICATED'],
    ['a call with another scheme', { authorization: `Basic ${TOKEN}` }, 401, 'UNAUTHENTICATED'],
    [
      'a page elsewhere, even with the token',
      { ...asOperator, origin: 'https://evil.example' },
      403,
      'FORBIDDEN',
    ],
    ['a sandboxed page', { ...asOperator, origin: 'null' }, 403, 'FORBIDDEN'],
  ])('%s is refused', async (_what, headers, status, code) => {
    expect(await invalidate(everything, headers)).toMatchObject({
      status,
      body: { errors: [{ extensions: { code } }] },
    });
  });

  test('a page of the server itself may', async () => {
    expect((await invalidate({ bots: [randomUUID()] }, { ...asOperator, origin: own() })).status).toBe(200);
  });

  test('in production without a token there is no such path', async () => {
    const closed = await startApp({ DATABASE_URL: database.url, NODE_ENV: 'production' });
    try {
      const answer = await invalidate(everything, {}, closed);
      expect(answer.status).toBe(404);
      const unknown = await fetch(new URL('/admin/unknown', closed.url), { method: 'POST' });
      expect(await unknown.json()).toEqual(answer.body);
    } finally {
      await closed.close();
    }
  });

  test('in development without a token everybody may, but no page that leads its own name here', async () => {
    const open = await startApp({ DATABASE_URL: database.url });
    try {
      const { port, origin } = new URL(open.url);
      expect((await invalidate(everything, {}, open)).status).toBe(200);
      expect((await invalidate(everything, { origin }, open)).status).toBe(200);
      expect((await invalidate(everything, { origin: 'http://localhost:1' }, open)).status).toBe(403);
      const rebound = { host: `evil.example:${port}`, origin: `http://evil.example:${port}` };
      expect((await invalidate(everything, rebound, open)).status).toBe(403);
    } finally {
      await open.close();
    }
  });
});
