import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { getIntrospectionQuery } from 'graphql';

import { startApp, type TestApp } from '../support/app.js';
import type { GraphQLAnswer } from '../support/client.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type TestDatabase } from '../support/services.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';

type Body = Omit<GraphQLAnswer<Record<string, unknown>>, 'status'>;

interface Answer extends Body {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** Sends one HTTP request. The response's body is parsed if it is JSON. */
async function send(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = /\bjson\b/.test(response.headers.get('content-type') ?? '');
  return {
    ...(isJson ? (JSON.parse(text) as Body) : {}),
    status: response.status,
    headers: response.headers,
    text,
  };
}

const JSON_BODY = { 'content-type': 'application/json' };
/** The status of an answer of this type says whether the request was refused. */
const MODERN = { accept: 'application/graphql-response+json' };

const codes = ({ errors }: Body) => errors?.map(({ extensions }) => extensions.code);

describe('GraphQL over HTTP', () => {
  let fixture: Fixture;
  let botId: string;
  let authorization: string;

  beforeAll(async () => {
    fixture = await createFixture();
    botId = (await addBots(fixture.database.sql, fixture.orgId, 1))[0] as string;
    authorization = `Bearer ${fixture.owner.token}`;
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const get = async (parameters: Record<string, string>, headers: Record<string, string> = {}) =>
    await send(`${fixture.app.url}?${String(new URLSearchParams(parameters))}`, {
      headers: { authorization, accept: 'application/json', ...headers },
    });

  const post = async (body: string, headers: Record<string, string> = JSON_BODY) =>
    await send(fixture.app.url, { method: 'POST', headers: { authorization, ...headers }, body });

  const versionOfBot = async () =>
    Number((await fixture.database.sql`select version from bots where id = ${botId}`)[0]?.version);

  test('GET answers a query, with its variables and the name of the operation', async () => {
    const query = `query A($id: ID!) { bot(id: $id) { id } } query B { me { id } }`;
    const answer = await get({ query, variables: JSON.stringify({ id: botId }), operationName: 'A' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^application\/(graphql-response\+)?json/);
    expect(answer.data).toEqual({ bot: { id: botId } });
  });

  test('GET without a token is UNAUTHENTICATED, as POST is', async () => {
    const answer = await get({ query: '{ me { id } }' }, { authorization: '' });
    expect(codes(answer)).toEqual(['UNAUTHENTICATED']);
  });

  test('GET cannot run a mutation', async () => {
    const query = `mutation { startBot(id: "${botId}") { id } }`;
    const before = await versionOfBot();
    const answer = await get({ query });
    expect(answer.status).toBe(405);
    expect(answer.headers.get('allow')).toBe('POST');
    expect(answer.data).toBeUndefined();
    expect(
      (
        await get({
          query: `query A { me { id } } ${query.replace('mutation', 'mutation B')}`,
          operationName: 'B',
        })
      ).status,
    ).toBe(405);
    expect(await versionOfBot()).toBe(before);
  });

  test.each([
    ['nothing', ''],
    ['half an object', '{"query": '],
    ['no JSON', 'query=%7Bme%7Bid%7D%7D'],
    ['null', 'null'],
    ['a number', '5'],
    ['a text', '"{ me { id } }"'],
    ['true', 'true'],
    ['an empty object', '{}'],
    ['an empty array', '[]'],
    ['a query that is no text', '{"query": 5}'],
    ['an empty query', '{"query": ""}'],
    ['a query that is no GraphQL', '{"query": "{ me {"}'],
    ['variables that are a text', '{"query": "{ me { id } }", "variables": "x"}'],
    ['variables that are an array', '{"query": "{ me { id } }", "variables": [1]}'],
    ['a name that is no text', '{"query": "{ me { id } }", "operationName": 5}'],
    ['the name of another operation', '{"query": "query A { me { id } }", "operationName": "B"}'],
    ['two operations without a name', '{"query": "query A { me { id } } query B { me { id } }"}'],
    ['extensions that are a text', '{"query": "{ me { id } }", "extensions": "x"}'],
    ['an unknown field', '{"query": "{ me { password } }"}'],
    ['a document without an operation', '{"query": "fragment F on User { id }"}'],
    ['a subscription', '{"query": "subscription { me { id } }"}'],
    ['a prototype', '{"query": "{ me { id } }", "__proto__": {"query": "x"}, "operationName": "B"}'],
    ['very deep JSON', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ])('a body with %s is refused as a mistake of the client', async (_what, body) => {
    const answer = await post(body, { ...JSON_BODY, ...MODERN });
    expect(answer.status).toBe(400);
    expect(answer.data ?? undefined).toBeUndefined();
    expect(answer.errors?.length).toBeGreaterThan(0);
    expect(codes(answer)).not.toContain('INTERNAL_SERVER_ERROR');
    expect(codes(answer)).not.toContain(undefined);
  });

  test('a body of several requests is refused, and none of them is answered', async () => {
    const before = await versionOfBot();
    const query = `mutation { startBot(id: "${botId}") { id } }`;
    for (const batch of [[{ query }], [{ query }, { query: '{ me { id } }' }]]) {
      const answer = await post(JSON.stringify(batch));
      expect(answer.status).toBe(400);
      expect(answer.errors?.length).toBeGreaterThan(0);
    }
    expect(await versionOfBot()).toBe(before);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])(
    'a body of the type %s, which any web page can send, is refused',
    async (type) => {
      const before = await versionOfBot();
      const query = `mutation { startBot(id: "${botId}") { id } }`;
      const answer = await post(JSON.stringify({ query }), { 'content-type': type });
      expect([400, 415]).toContain(answer.status);
      expect(answer.errors?.length).toBeGreaterThan(0);
      expect(await versionOfBot()).toBe(before);
    },
  );

  test.each(['text/event-stream', 'image/png', 'multipart/mixed', 'text/html;q=0'])(
    'a mutation that accepts only %s is refused and not made, however often it is sent',
    async (accept) => {
      const before = await versionOfBot();
      const query = `mutation { updateBot(id: "${botId}", input: { name: "${randomUUID()}" }) { version } }`;
      for (let time = 1; time <= 3; time++) {
        const answer = await post(JSON.stringify({ query }), { ...JSON_BODY, accept });
        expect(answer.status).toBe(406);
        expect(await versionOfBot()).toBe(before);
      }
    },
  );

  test("null for a directive's condition with a default is a client error, and is not logged as a server error", async () => {
    const query = 'query ($c: Boolean = true) { me { id name @include(if: $c) } }';
    fixture.app.logs.length = 0;
    for (let time = 1; time <= 3; time++) {
      const answer = await post(JSON.stringify({ query, variables: { c: null } }));
      expect(codes(answer)).toEqual(['BAD_USER_INPUT']);
      expect(answer.errors?.[0]?.message).not.toMatch(/internal/i);
    }
    expect(fixture.app.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  test('a body that is too large is refused before it is read', async () => {
    const answer = await new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
      const request = httpRequest(fixture.app.url, {
        method: 'POST',
        headers: { ...JSON_BODY, authorization, 'content-length': String(50 * 1024 * 1024) },
      });
      request.on('error', reject);
      request.on('response', (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.on('end', () => {
          request.destroy();
          resolve({ status: response.statusCode, body });
        });
      });
      request.flushHeaders();
    });
    expect(answer.status).toBe(413);
    expect(codes(JSON.parse(answer.body) as Body)).toEqual(['BAD_USER_INPUT']);
  });

  test.each<[string, string, (json: string) => string]>([
    ['three bytes', 'あ', (json) => json],
    ['four bytes', '😀', (json) => json],
    ['an escape', 'あ', (json) => json.replaceAll('あ', String.raw`\u3042`)],
  ])(
    'the largest addMessages fits: 500 messages of 8,000 characters of %s',
    async (_what, character, written) => {
      const query = `mutation ($id: ID!, $messages: [MessageInput!]!) {
      addMessages(botId: $id, messages: $messages) { messages { id } } }`;
      const message = { conversationId: 'c', contactId: 'c', direction: 'INBOUND', status: 'DELIVERED' };
      const text = character.repeat(8_000);
      const messages = Array.from({ length: 500 }, () => ({ ...message, text }));
      const answer = await post(written(JSON.stringify({ query, variables: { id: botId, messages } })), {
        ...JSON_BODY,
        authorization: `Bearer ${fixture.editor.token}`,
      });
      expect(answer.errors).toBeUndefined();
      expect(answer.data).toHaveProperty('addMessages.messages.length', 500);
      const [{ texts } = { texts: 0 }] = await fixture.database.sql<{ texts: number }[]>`
      select count(*)::int as texts from messages where text = ${text}`;
      expect(texts).toBeGreaterThanOrEqual(500);
    },
  );

  describe('limits of a document', () => {
    const refusedWithoutSql = async (query: string, variables?: object) => {
      fixture.app.statements.length = 0;
      const answer = await post(JSON.stringify({ query, variables }), { ...JSON_BODY, ...MODERN });
      expect(answer.status).toBe(400);
      expect(answer.data).toBeUndefined();
      expect(fixture.app.statements).toEqual([]);
      return answer.errors?.map(({ message }) => message).join('\n') ?? '';
    };
    const nested = (levels: number): string =>
      levels === 0 ? '{ id }' : `{ organization { bots ${nested(levels - 1)} } }`;

    test('a document that is too deep is refused', async () => {
      expect(await refusedWithoutSql(`{ bot(id: "${botId}") ${nested(6)} }`)).toMatch(/depth/i);
      const fragments = `{ bot(id: "${botId}") { ...A } } fragment A on Bot ${nested(3).replace('{ id }', '{ ...B }')}
        fragment B on Bot ${nested(3)}`;
      expect(await refusedWithoutSql(fragments)).toMatch(/depth/i);
    });

    test('a document with too many aliases is refused; one with many is not', async () => {
      const aliases = (count: number) =>
        `{ ${Array.from({ length: count }, (_, n) => `a${n}: me { id }`).join(' ')} }`;
      const refused = await fixture.viewer.sendText(aliases(61));
      expect(refused.errors).toMatchObject([
        {
          message: 'The document has more than 60 aliases',
          extensions: { code: 'GRAPHQL_VALIDATION_FAILED' },
        },
      ]);
      expect(await refusedWithoutSql(aliases(61))).not.toMatch(/syntax/i);
      const { data } = await fixture.viewer.sendText(aliases(50));
      expect(Object.keys(data ?? {})).toHaveLength(50);
    });

    const pageOfAll = '{ items { id organization { bots { id name status } } } }';
    test.each([
      ['a page of organizations with all their bots', `{ bots(orgId: $org, limit: 100) ${pageOfAll} }`],
      ['the same with a variable limit', `query ($n: Int = 1) { bots(orgId: $org, limit: $n) ${pageOfAll} }`],
      [
        'the same in a fragment',
        `{ ...F } fragment F on Query { bots(orgId: $org, limit: 100) ${pageOfAll} }`,
      ],
      [
        'the same, made to look cheap by a negative limit',
        `{ a: bots(orgId: $org, limit: -2000000) { items { id name } } b: bots(orgId: $org, limit: 100) ${pageOfAll} }`,
      ],
      [
        'many lists',
        `{ ${Array.from({ length: 59 }, (_, n) => `a${n}: bots(orgId: $org, limit: 100) { items { id name version status } }`).join(' ')} }`,
      ],
      [
        'a page of bots with all that 100 messages of each have',
        `{ bots(orgId: $org, limit: 100) { items { messages(first: 100) { nodes { id text } } } } }`,
      ],
      [
        'the same by edges and variables',
        `query ($n: Int = 1) { bots(orgId: $org, limit: 100) { items { messages(first: $n) { edges { node { id text } } } } } }`,
      ],
    ])('%s is too expensive, and refused', async (_what, query) => {
      expect(await refusedWithoutSql(query.replaceAll('$org', `"${fixture.orgId}"`))).toMatch(/expensive/);
    });

    test('the largest page with every field of its bots is not too expensive', async () => {
      const query = `query ($org: ID!, $n: Int) { bots(orgId: $org, limit: $n) { total items {
        id orgId name description status version createdAt updatedAt startedAt organization { id name slug }
        stats { totalMessages inboundMessages outboundMessages failedMessages totalConversations successRate } } } }`;
      const answer = await post(JSON.stringify({ query, variables: { org: fixture.orgId, n: 100 } }));
      expect(answer.errors).toBeUndefined();
      expect(answer.data?.bots).toMatchObject({ total: 1 });
    });

    test.each([
      [
        '20 bots with their statistics and 20 messages each',
        `{ bots(orgId: $org) { items { id name stats { totalMessages }
          messages { nodes { id text direction status createdAt } pageInfo { endCursor } } } } }`,
      ],
      [
        'the largest page of messages with all they have',
        `{ bot(id: $bot) { messages(first: 100) { edges { cursor node { id botId conversationId contactId direction status
          text responseTimeMs createdAt } } nodes { id text } } } }`,
      ],
    ])('%s are not too expensive', async (_what, query) => {
      const text = query.replaceAll('$org', `"${fixture.orgId}"`).replaceAll('$bot', `"${botId}"`);
      expect((await fixture.viewer.sendText(text)).errors).toBeUndefined();
    });

    test('a document of too many tokens is refused', async () => {
      expect(await refusedWithoutSql(`{ me { ${'id '.repeat(10_001)} } }`)).toMatch(/token/i);
    });

    test('fragments that contain each other are refused', async () => {
      const fragments = 'fragment A on Organization { ...B } fragment B on Organization { ...A }';
      const query = `{ me { memberships { organization { ...A } } } } ${fragments}`;
      expect(await refusedWithoutSql(query)).toMatch(/fragment/i);
    });
  });

  describe('request ids', () => {
    const idOf = async (given?: string) => {
      const headers = given === undefined ? {} : { 'x-request-id': given };
      return (await get({ query: '{ me { id } }' }, headers)).headers.get('x-request-id');
    };

    test.each(['a', '0123-abc_DEF.7:x', 'x'.repeat(64), randomUUID()])('%s is returned', async (id) => {
      expect(await idOf(id)).toBe(id);
    });

    test.each(['x'.repeat(65), 'two words', '{}', 'a,b', 'é'])('%s is replaced by a new one', async (id) => {
      expect(await idOf(id)).toMatch(/^[0-9a-f-]{36}$/);
    });

    test('are new for each request without one, on every path and for every failure', async () => {
      const url = (path: string) => new URL(path, fixture.app.url).href;
      const answers = [
        await post('{'),
        await post('{}'),
        await get({ query: '{ me { id } }' }),
        await send(url('/healthz')),
        await send(url('/readyz')),
        await send(url('/nothing')),
      ];
      const ids = answers.map(({ headers }) => headers.get('x-request-id'));
      for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/);
      expect(new Set(ids).size).toBe(ids.length);
    });
  });

  describe('the playground', () => {
    const asBrowser = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' };

    test('is served to a browser', async () => {
      const answer = await get({}, { authorization: '', ...asBrowser });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
      expect(answer.text).toMatch(/<html/i);
      const home = await send(new URL('/', fixture.app.url).href, { headers: asBrowser, redirect: 'manual' });
      expect([home.status, home.headers.get('location')]).toEqual([302, '/graphql']);
    });

    test('is served to a browser with a query in the URL as well, because the page stores it there', async () => {
      const answer = await get({ query: '{ me { id } }' }, { authorization: '', ...asBrowser });
      expect(answer.status).toBe(200);
      expect(answer.text).toMatch(/<html/i);
    });

    test('is not served to a GraphQL client', async () => {
      for (const accept of ['application/json', '*/*', 'application/graphql-response+json']) {
        expect((await get({}, { accept })).status).toBe(400);
        expect((await get({ query: '{ me { id } }' }, { accept })).data).toEqual({
          me: { id: expect.any(String) },
        });
      }
    });
  });

  test('introspection is answered outside production', async () => {
    const answer = await post(JSON.stringify({ query: getIntrospectionQuery() }));
    expect(answer.data).toHaveProperty(['__schema', 'types']);
  });

  test('any web page may send requests outside production', async () => {
    const answer = await get({ query: '{ me { id } }' }, { origin: 'https://anyone.example' });
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('access-control-expose-headers')).toMatch(/x-request-id/i);
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  describe('/metrics', () => {
    test('counts hits and misses of the cache', async () => {
      const hits = async () => await fixture.app.metric('flovo_cache_hits_total');
      const requests = async () =>
        await fixture.app.metric('flovo_http_request_duration_seconds_count', { route: '/graphql' });
      const query = `{ bot(id: "${botId}") { id stats { totalMessages } } }`;
      await askUntil(
        async () => {
          const before = await hits();
          await post(JSON.stringify({ query }));
          return (await hits()) > before;
        },
        (grew) => grew,
      );
      const [hitsBefore, requestsBefore] = [await hits(), await requests()];
      await post(JSON.stringify({ query }));
      expect(await hits()).toBeGreaterThan(hitsBefore);
      expect(await requests()).toBe(requestsBefore + 1);
    });

    test('is in the format of Prometheus', async () => {
      const { status, headers, text } = await send(new URL('/metrics', fixture.app.url).href);
      expect(status).toBe(200);
      expect(headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
      for (const line of text.split('\n').filter((each) => each !== '')) {
        expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|[a-zA-Z_]\w*(\{.*\})? [-+0-9.eEInfNa]+)$/);
      }
      expect(text).toMatch(/^flovo_redis_up 1$/m);
    });
  });
});

describe('in production', () => {
  let database: TestDatabase;
  const apps: TestApp[] = [];

  beforeAll(async () => {
    database = await createDatabase();
  });

  afterAll(async () => {
    for (const app of apps) await app.close();
    await database?.drop();
  });

  const start = async (settings: Record<string, string> = {}) => {
    const app = await startApp({ DATABASE_URL: database.url, NODE_ENV: 'production', ...settings });
    apps.push(app);
    return app;
  };

  const fromOrigin = async ({ url }: TestApp, origin: string, init: RequestInit = {}) =>
    await send(url, { ...init, headers: { origin, ...JSON_BODY, ...init.headers } });

  const preflight = {
    method: 'OPTIONS',
    headers: {
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  };

  test('there is no introspection and no playground, unless they are switched on', async () => {
    const app = await start();
    const query = '{ __schema { types { name } } }';
    const refused = await app.client(undefined).sendText(query);
    expect(refused.errors).toHaveLength(1);
    expect(refused.data).toBeUndefined();
    const byType = await app.client(undefined).sendText('{ __type(name: "Bot") { fields { name } } }');
    expect(byType.data).toBeUndefined();
    const page = await send(app.url, { headers: { accept: 'text/html' } });
    expect(page.text).not.toMatch(/<html/i);
    expect(page.status).toBeGreaterThanOrEqual(400);

    const open = await start({ INTROSPECTION: 'on', PLAYGROUND: 'on' });
    expect((await open.client(undefined).sendText(query)).data).toHaveProperty('__schema');
    expect((await send(open.url, { headers: { accept: 'text/html' } })).text).toMatch(/<html/i);
  });

  test('no web page may send requests unless its origin is configured', async () => {
    const closed = await start();
    const answer = await fromOrigin(closed, 'https://a.example', preflight);
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();

    const open = await start({ CORS_ORIGIN: 'https://a.example, https://b.example' });
    for (const origin of ['https://a.example', 'https://b.example']) {
      const allowed = await fromOrigin(open, origin, preflight);
      expect(allowed.status).toBe(204);
      expect(allowed.headers.get('access-control-allow-origin')).toBe(origin);
      expect(allowed.headers.get('access-control-allow-headers')?.toLowerCase()).toMatch(/authorization/);
      expect(allowed.headers.get('access-control-allow-methods')).toMatch(/POST/);
      expect(allowed.headers.get('vary')).toMatch(/origin/i);
      const asked = await fromOrigin(open, origin, { method: 'POST', body: '{"query":"{ __typename }"}' });
      expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
    }
    for (const origin of ['https://c.example', 'https://a.example.evil.example', 'null']) {
      const denied = await fromOrigin(open, origin, preflight);
      expect(denied.headers.get('access-control-allow-origin')).toBeNull();
    }
  });
});

describe('the rate limit', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({ DATABASE_URL: database.url, RATE_LIMIT_PER_SECOND: '5' });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  test('refuses one caller that asks too often with RATE_LIMITED, and nobody else', async () => {
    const orgId = await addOrganization(database.sql);
    const [eager, other] = await Promise.all([
      addUser(database.sql, { [orgId]: 'VIEWER' }),
      addUser(database.sql, { [orgId]: 'VIEWER' }),
    ]);
    const ask = async (token: string) => await app.client(token).sendText('{ me { id } }');
    const answers = await Promise.all(Array.from({ length: 40 }, async () => await ask(eager.token)));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(5);
    for (const answer of refused) {
      expect(answer.data).toBeUndefined();
      expect(codes(answer)).toEqual(['RATE_LIMITED']);
    }
    expect((await ask(other.token)).data).toEqual({ me: { id: other.id } });

    const again = await askUntil(
      async () => await ask(eager.token),
      ({ status }) => status === 200,
      5_000,
    );
    expect(again.data).toEqual({ me: { id: eager.id } });
  });

  test('does not apply to health checks and metrics', async () => {
    for (const path of ['/healthz', '/readyz', '/metrics']) {
      const url = new URL(path, app.url).href;
      const answers = await Promise.all(Array.from({ length: 20 }, async () => (await send(url)).status));
      expect(answers).toEqual(Array.from({ length: 20 }, () => 200));
    }
  });
});

describe('health', () => {
  const ask = async (app: TestApp, path: string) => {
    const { status, text } = await send(new URL(path, app.url).href);
    return { status, body: JSON.parse(text) as Record<string, unknown> };
  };
  const ready = { ready: true, database: 'up', migrated: true };

  test('with Redis killed the server is ready, reports that the cache is down, and answers', async () => {
    const [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    const app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
    try {
      expect(await ask(app, '/readyz')).toMatchObject({ status: 200, body: { ...ready, cache: 'up' } });
      await redis.kill();
      const state = await askUntil(
        async () => await ask(app, '/readyz'),
        ({ body }) => body.cache === 'down',
      );
      expect(state).toMatchObject({ status: 200, body: { ...ready, cache: 'down' } });
      expect(await ask(app, '/healthz')).toMatchObject({ status: 200 });
      const { token, id } = await addUser(database.sql);
      expect((await app.client(token).sendText('{ me { id } }')).data).toEqual({ me: { id } });
    } finally {
      await app.close();
      await redis.stop();
      await database.drop();
    }
  });

  test('without the database the server is alive and not ready, and requests are told to try again', async () => {
    const database = await createDatabase();
    const app = await startApp({ DATABASE_URL: database.url });
    try {
      expect(await ask(app, '/readyz')).toMatchObject({ status: 200, body: { ...ready, cache: 'off' } });
      const { token } = await addUser(database.sql);
      await database.drop();
      expect(await ask(app, '/readyz')).toMatchObject({
        status: 503,
        body: { ready: false, database: 'down' },
      });
      expect(await ask(app, '/healthz')).toMatchObject({ status: 200 });
      const answer = await app.client(token).sendText('{ me { id } }');
      expect(answer.errors).toEqual([
        expect.objectContaining({
          message: expect.stringContaining('try again'),
          extensions: { code: 'UNAVAILABLE', retryable: true },
        }),
      ]);
    } finally {
      await app.close();
    }
  });

  test('with a migration missing the server is not ready', async () => {
    const database = await createDatabase();
    const app = await startApp({ DATABASE_URL: database.url });
    try {
      await database.sql`delete from drizzle.__drizzle_migrations
        where id = (select max(id) from drizzle.__drizzle_migrations)`;
      expect(await ask(app, '/readyz')).toMatchObject({
        status: 503,
        body: { ready: false, database: 'up', migrated: false },
      });
      await database.sql`drop schema drizzle cascade`;
      expect(await ask(app, '/readyz')).toMatchObject({
        status: 503,
        body: { ready: false, migrated: false },
      });
    } finally {
      await app.close();
      await database.drop();
    }
  });
});
