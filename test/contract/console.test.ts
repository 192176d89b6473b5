import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Fastify, { type FastifyInstance } from 'fastify';

import { CacheUnavailableError } from '../../src/cache/core/errors.js';
import type { ConsoleState } from '../../src/console/console-state.js';
import { KnownProcesses } from '../../src/console/known-processes.js';
import { registerConsole, type Console, type ConsoleEntity } from '../../src/http/console-route.js';
import { answerFailures } from '../../src/http/failures.js';
import { operatorAccess } from '../../src/http/operator-access.js';
import { BotDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { captureLogs } from '../support/captured-logs.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { createFixture, type Fixture } from './fixture.js';

const TOKEN = 'the-token-of-the-operators-in-this-test';
const BOT = '7f3c6a5e-93b1-4e0c-9d7a-52f0c1b6a111';
const PAGES = ['/console', '/console/', '/console/console.js', '/console/console.css'];
const DATA = ['/console/state', `/console/entity?kind=bot&id=${BOT}`];

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** Sends a GET. `node:http` also sends the headers that `fetch` sets itself. */
async function get(url: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const asked = request(new URL(path, url), { headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

const codeOf = ({ text }: Answer) =>
  (JSON.parse(text) as { errors: [{ extensions: { code: string } }] }).errors[0].extensions.code;

describe('the console', () => {
  let fixture: Fixture;
  let guarded: TestApp;
  let production: TestApp;
  let otherDatabase: TestDatabase;
  let elsewhere: TestApp;

  beforeAll(async () => {
    otherDatabase = await createDatabase();
    elsewhere = await startApp({ DATABASE_URL: otherDatabase.url });
    fixture = await createFixture();
    const settings = { DATABASE_URL: fixture.database.url, REDIS_URL: 'off' };
    guarded = await startApp({ ...settings, NODE_ENV: 'production', OPERATOR_TOKEN: TOKEN });
    production = await startApp({ ...settings, NODE_ENV: 'production' });
  });

  afterAll(async () => {
    await production?.close();
    await guarded?.close();
    await fixture?.close();
    await elsewhere?.close();
    await otherDatabase?.drop();
  });

  describe('in development', () => {
    test.each([...PAGES, ...DATA])('serves %s to everybody on this machine', async (path) => {
      expect((await get(fixture.app.url, path)).status).toBe(200);
    });

    test.each([...PAGES, ...DATA])('refuses %s under another name, and to pages elsewhere', async (path) => {
      for (const headers of [{ host: 'attacker.example' }, { origin: 'https://attacker.example' }]) {
        const answer = await get(fixture.app.url, path, headers);
        expect([answer.status, codeOf(answer)]).toEqual([403, 'FORBIDDEN']);
      }
    });
  });

  describe('in production', () => {
    test.each([...PAGES, ...DATA])('has no %s without a token in the settings', async (path) => {
      for (const headers of [{}, { authorization: `Bearer ${TOKEN}` }]) {
        const answer = await get(production.url, path, headers);
        expect([answer.status, codeOf(answer)]).toEqual([404, 'NOT_FOUND']);
      }
    });

    test.each(PAGES)('serves %s, which holds no data, to a browser that has no token yet', async (path) => {
      expect((await get(guarded.url, path, { host: 'bots.example' })).status).toBe(200);
    });

    test.each(DATA)('serves %s with the token alone', async (path) => {
      for (const headers of [{}, { authorization: 'Bearer another' }] as Record<string, string>[]) {
        const refused = await get(guarded.url, path, headers);
        expect([refused.status, codeOf(refused)]).toEqual([401, 'UNAUTHENTICATED']);
        expect(refused.headers['cache-control']).toBe('no-store');
      }
      const authorization = `Bearer ${TOKEN}`;
      const served = await get(guarded.url, path, { authorization, host: 'bots.example' });
      expect(served.status).toBe(200);
      expect(served.headers['cache-control']).toBe('no-store');
      const foreign = await get(guarded.url, path, { authorization, origin: 'https://attacker.example' });
      expect(foreign.status).toBe(403);
    });
  });

  describe('its page', () => {
    test.each([...PAGES, ...DATA])('may use nothing but what the server itself serves: %s', async (path) => {
      const { headers } = await get(fixture.app.url, path);
      const policy = String(headers['content-security-policy']);
      expect(policy).toMatch(/^default-src '(self|none)';/);
      expect(policy).toMatch(/frame-ancestors 'none'/);
      expect(policy).not.toMatch(/unsafe|\*|https?:|data:/);
      expect(headers['x-content-type-options']).toBe('nosniff');
    });

    test('and every file that it names are served, with their types, and name no other host', async () => {
      const seen = new Map<string, string>();
      const follow = async (path: string): Promise<void> => {
        if (seen.has(path)) return;
        const { status, headers, text } = await get(fixture.app.url, path);
        expect([path, status]).toEqual([path, 200]);
        seen.set(path, String(headers['content-type']));
        expect(text.replaceAll('http://www.w3.org/2000/svg', '')).not.toMatch(/https?:\/\//);
        const named = [
          ...text.matchAll(/(?:src|href)="(\/[^"]+)"/g),
          ...text.matchAll(/from '(\.\/[^']+)'/g),
        ];
        for (const [, name = ''] of named) await follow(new URL(name, `http://x/console/`).pathname);
      };
      await follow('/console');
      expect(Object.fromEntries(seen)).toMatchObject({
        '/console': 'text/html; charset=utf-8',
        '/console/console.css': 'text/css; charset=utf-8',
        '/console/console.js': 'text/javascript; charset=utf-8',
        '/console/entity.js': 'text/javascript; charset=utf-8',
        '/console/icon.svg': 'image/svg+xml',
      });
    });

    test('has no script and no style of its own, which the policy would refuse', async () => {
      const { text } = await get(fixture.app.url, '/console');
      expect(text).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/i);
    });

    test('is not sent again to a browser that has it', async () => {
      const first = await get(fixture.app.url, '/console/console.js');
      const headers = { 'if-none-match': String(first.headers.etag) };
      const second = await get(fixture.app.url, '/console/console.js', headers);
      expect([second.status, second.text]).toEqual([304, '']);
      expect((await get(fixture.app.url, '/console', headers)).status).toBe(200);
    });

    test.each(['other.js', '..%2f..%2fpackage.json', '%2e%2e/package.json', 'toString', 'index.html/x'])(
      'has no file %s',
      async (name) => {
        const answer = await get(fixture.app.url, `/console/${name}`);
        expect([answer.status, codeOf(answer)]).toEqual([404, 'NOT_FOUND']);
      },
    );
  });

  describe('its state', () => {
    const state = async (app = fixture.app) =>
      JSON.parse((await get(app.url, '/console/state')).text) as ConsoleState;
    const LIST = `query Console($orgId: ID!) { bots(orgId: $orgId) { items { stats { totalMessages } } } }`;
    const RENAME = `mutation Rename($id: ID!) { updateBot(id: $id, input: { name: "other" }) { version } }`;
    let botId: string;

    beforeAll(async () => {
      [botId] = (await addBots(fixture.database.sql, fixture.orgId, 3)) as [string];
    });

    test('counts hits, misses, loads, fills and invalidations, as the metrics do', async () => {
      const { orgId, owner } = fixture;
      const before = await state();
      await owner.sendText(LIST, { orgId });
      await eventually(async () => (await state()).resources.botStats?.fills.stored === 3);
      await owner.sendText(LIST, { orgId, unused: 1 });
      await owner.sendText(RENAME, { id: botId });
      const after = await state();

      expect(after.resources.botStats).toMatchObject({ loads: 1, loadedValues: 3, misses: { absent: 3 } });
      expect(after.resources.botStats?.hits).toBeGreaterThanOrEqual(3);
      expect(after.resources.botStats?.reads.count).toBe(2);
      expect(after.resources.botStats?.reads.seconds).toBeGreaterThan(0);
      expect(after.resources.botStats?.reads.upTo.at(-1)).toBe(2);
      // Renaming outdates the bot, its statistics and its organization, and so its lists.
      const byMutation = ({ resources }: ConsoleState, name: string) =>
        resources[name]?.invalidations.mutation ?? 0;
      for (const [name, tags] of Object.entries({
        bot: 1,
        botStats: 1,
        botDetails: 2,
        botPage: 1,
        principal: 0,
      }))
        expect([name, byMutation(after, name) - byMutation(before, name)]).toEqual([name, tags]);
      expect(after.resources.botPage?.misses.absent).toBe(1);
      expect(after.resources.response?.misses.absent).toBeGreaterThanOrEqual(2);
      expect((after.invalidations.mutation ?? 0) - (before.invalidations.mutation ?? 0)).toBe(3);
      const hits = await fixture.app.metric('flovo_cache_hits_total', { resource: 'botStats' });
      expect(after.resources.botStats?.hits).toBe(hits);
    });

    test('counts operations and their time by name, and round trips and statements with their buckets', async () => {
      const { operations, latencies } = await state();
      const list = operations.find(({ operation }) => operation === 'Console');
      expect(list).toMatchObject({ type: 'query', count: 2 });
      expect(list?.seconds).toBeGreaterThan(0);
      expect(operations).toContainEqual(expect.objectContaining({ operation: 'Rename', type: 'mutation' }));
      for (const latency of [latencies.sql, latencies.redis.read]) {
        expect(latency?.count).toBeGreaterThan(0);
        expect(latency?.seconds).toBeGreaterThan(0);
        expect(latency?.upTo).toHaveLength(latencies.bounds.length);
        expect(latency?.upTo.at(-1)).toBe(latency?.count);
        expect(latency?.upTo).toEqual(latency?.upTo.toSorted((a, b) => a - b));
      }
    });

    test('tells of the response cache, Redis, the invalidation log, the pool and the process', async () => {
      const read = await state();
      expect(read.responseCache).toMatchObject({ maxBytes: 64 * 1_048_576 });
      expect(read.responseCache?.entries).toBeGreaterThan(0);
      expect(read.responseCache?.bytes).toBeGreaterThan(500);
      expect(read.health).toMatchObject({ cache: 'up', database: 'up' });
      expect(read.health.invalidationLogAgeMs).toBeLessThan(2_000);
      expect(read.pool.max).toBe(10);
      expect(read.process).toMatchObject({ pid: process.pid, version: '0.1.0', node: process.versions.node });
      expect(read.process.memoryBytes).toBeGreaterThan(1_000_000);
      expect(Math.abs(read.at - Date.now())).toBeLessThan(5_000);

      const other = JSON.parse(
        (await get(guarded.url, '/console/state', { authorization: `Bearer ${TOKEN}` })).text,
      ) as ConsoleState;
      expect(other.health.cache).toBe('off');
      expect(other.responseCache).toBeNull();
      expect(other.process.id).not.toBe(read.process.id);
      expect((await state()).process.id).toBe(read.process.id);
    });

    test('lists the processes that read the invalidation log of this database', async () => {
      const { processes } = await state();
      // The three servers of this test that are on it.
      expect(processes).toHaveLength(3);
      for (const { address, port, connectedAt } of processes ?? []) {
        expect(address).toBe('127.0.0.1');
        expect(port).toBeGreaterThan(0);
        expect(Math.abs((connectedAt ?? 0) - Date.now())).toBeLessThan(600_000);
      }
    });
  });
});

describe('the list of processes', () => {
  test('is unknown if PostgreSQL cannot be asked, and is asked for once in a while, however many ask', async () => {
    let asked = 0;
    const failing = new KnownProcesses(async () => {
      asked++;
      return await Promise.reject(new Error('away'));
    });
    const silent = new KnownProcesses(async () => await new Promise<never>(() => undefined));
    const lists = await Promise.all([failing.list(), failing.list(), silent.list()]);
    expect(lists).toEqual([null, null, null]);
    expect(await failing.list()).toBeNull();
    expect(asked).toBe(1);
  });
});

test('the data of a bot are those in Redis, and what invalidated them', async () => {
  const fixture = await createFixture();
  try {
    const [id = ''] = await addBots(fixture.database.sql, fixture.orgId, 1);
    await fixture.owner.ask(BotDocument, { id });
    await fixture.editor.ask(UpdateBotDocument, { id, input: { name: 'renamed' } });
    await fixture.owner.ask(BotDocument, { id });
    await eventually(async () => (await fixture.admin.keys('*:lock')).length === 0);
    const found = (await (
      await fetch(new URL(`/console/entity?kind=bot&id=${id}`, fixture.app.url))
    ).json()) as ConsoleEntity;
    expect(found.tags.map(({ tag }) => tag)).toEqual([`bot:${id}`, `bot:${id}:stats`]);
    expect(found.values).toMatchObject([
      { key: `bot:${id}`, resource: 'bot', state: 'current', value: { name: 'renamed' } },
    ]);
    expect(found.invalidations[0]?.tags).toContain(`bot:${id}`);
    const state = (await (await fetch(new URL('/console/state', fixture.app.url))).json()) as ConsoleState;
    expect(state.resources.bot?.policy).toEqual({ store: 1, refresh: 1 });
  } finally {
    await fixture.close();
  }
});

describe('the data of an entity', () => {
  let server: FastifyInstance;
  let inspect: Console['inspect'];
  const inspected: [kind: string, id: string][] = [];
  const FOUND = {
    tags: [{ tag: `bot:${BOT}`, generationKey: `bot:${BOT}:gen`, generation: 'g', ttlMs: 5 }],
    values: [],
    invalidations: [],
  };

  beforeAll(() => {
    server = Fastify();
    const { log } = captureLogs('silent');
    registerConsole(server, {
      access: operatorAccess({ token: undefined, production: false }),
      console: {
        state: async () => await Promise.reject(new Error('not asked for')),
        inspect: async (kind, id) => {
          inspected.push([kind, id]);
          return await inspect(kind, id);
        },
      },
    });
    answerFailures(server, log, () => undefined);
    inspect = async () => await Promise.resolve(FOUND);
  });

  afterAll(async () => {
    await server?.close();
  });

  const ask = async (search: string) => {
    const response = await server.inject({ url: `/console/entity${search}`, headers: { host: 'localhost' } });
    return { status: response.statusCode, body: response.json<unknown>() };
  };

  test.each([
    ['bot', BOT],
    ['organization', BOT],
  ])('is that of the %s, in whatever case its id is written', async (kind, id) => {
    const answer = await ask(`?kind=${kind}&id=${id.toUpperCase()}`);
    expect(answer).toEqual({ status: 200, body: FOUND });
    expect(inspected.at(-1)).toEqual([kind, id]);
  });

  test.each([
    ['', 'kind'],
    [`?id=${BOT}`, 'kind'],
    [`?kind=user&id=${BOT}`, 'kind'],
    [`?kind=toString&id=${BOT}`, 'kind'],
    ['?kind=bot', 'id'],
    ['?kind=bot&id=', 'id'],
    ['?kind=bot&id=*', 'id'],
    [`?kind=bot&id=${BOT}:stats`, 'id'],
    [`?kind=bot&id=${BOT}&id=${BOT}`, 'id'],
  ])('is refused, with the mistake, for %s', async (search, field) => {
    const before = inspected.length;
    expect(await ask(search)).toMatchObject({
      status: 400,
      body: { errors: [{ extensions: { code: 'BAD_USER_INPUT', field } }] },
    });
    expect(inspected).toHaveLength(before);
  });

  test('is UNAVAILABLE while Redis cannot be read', async () => {
    inspect = async () => await Promise.reject(new CacheUnavailableError('away'));
    expect(await ask(`?kind=bot&id=${BOT}`)).toMatchObject({
      status: 503,
      body: { errors: [{ extensions: { code: 'UNAVAILABLE' } }] },
    });
  });
});
