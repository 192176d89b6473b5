import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { eventually } from '../support/eventually.js';
import { addOrganization, addUser } from '../support/people.js';
import { startServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';

const MANY = 10_000;

let database: TestDatabase;
let redis: RedisService;
let admin: Redis;
let orgId: string;
let ids: string[];
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  admin = new Redis(redis.url);
  orgId = await addOrganization(database.sql);
  const rows = await database.sql<{ id: string }[]>`
    insert into bots (org_id, name, description)
    select ${orgId}, 'bot ' || n, repeat('x', 150) from generate_series(1, ${MANY}) as n returning id`;
  ids = rows.map(({ id }) => id);
}, 60_000);

afterAll(async () => {
  admin?.disconnect();
  await redis?.stop();
  await database?.drop();
});

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  await admin.flushall();
});

const open = async (options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
  const cache = await openCache({
    databaseUrl: database.url,
    redis: { kind: 'standalone', url: redis.url },
    ...options,
  });
  closers.push(cache.close);
  await cache.isUp();
  return cache;
};
const calls = async (name: string): Promise<number> =>
  Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(await admin.info('commandstats'))?.[1] ?? 0);

/** How many keys there are, without the one of the writes that changed everything. */
const size = async (): Promise<number> =>
  (await admin.keys('*')).filter((key) => !key.startsWith('everything:')).length;

test('ten thousand values are read, claimed and filled in several commands, and none is lost', async () => {
  const cache = await open();
  await admin.config('RESETSTAT');
  await cache.botStats.readMany(ids);
  await eventually(async () => (await size()) === 2 * MANY, 30_000);
  // At most 200 keys each.
  expect(await calls('mget')).toBeGreaterThanOrEqual((2 * MANY) / 200);
  expect(await calls('eval')).toBeGreaterThanOrEqual(2 * (MANY / 200));
  const { loads } = cache.tally;
  expect(await cache.botStats.readMany(ids)).toHaveLength(MANY);
  expect(cache.tally).toMatchObject({ loads, hits: MANY, timeouts: 0, states: ['up'] });
}, 60_000);

test('ten thousand tags are invalidated in several commands', async () => {
  const cache = await open();
  await cache.bot.readMany(ids);
  await eventually(async () => (await size()) === 2 * MANY, 30_000);
  await admin.config('RESETSTAT');
  await cache.cache.invalidator.invalidate(ids.map((id) => `bot:${id}`));
  expect(await size()).toBe(0);
  expect(await calls('unlink')).toBeGreaterThanOrEqual((2 * MANY) / 200);
  expect(cache.tally).toMatchObject({ timeouts: 0, states: ['up'] });
}, 60_000);

test('an index that lists more keys than a command can name is removed with all of them', async () => {
  const cache = await open();
  const key = (i: number) => `bots:org:${orgId}:page:${i}:limit:1:search:`;
  await admin.eval(
    `for i = 1, 20000 do
      redis.call('SET', ARGV[1] .. i, 'x')
      redis.call('ZADD', KEYS[1], 9e15, ARGV[1] .. i)
    end`,
    1,
    `org:${orgId}:index`,
    key(0),
  );
  await cache.cache.invalidator.invalidate([`org:${orgId}`]);
  expect(await size()).toBe(0);
  expect(cache.tally.errors).toBe(0);
});

test('a value larger than the limit is returned but not stored, and other readers do not wait for it', async () => {
  await database.sql`update bots set description = repeat('y', 2000) where org_id = ${orgId}`;
  const [one, two] = await Promise.all([open(), open()]);
  const gate = one.hold('organizationBots', 'after');
  const reading = one.organizationBots.readMany([orgId]);
  await gate.reached;
  const other = two.organizationBots.readMany([orgId]);
  gate.open();
  for (const [bots] of [await reading, await other]) expect(bots?.length).toBeGreaterThan(1_000);
  await eventually(() => one.tally.tooLargeValues === 1);
  await eventually(async () => (await admin.keys('*:lock')).length === 0);
  expect(await admin.exists(`org:${orgId}:bots`)).toBe(0);
  // The next reader loads at once, and gets the same value.
  expect((await one.organizationBots.readMany([orgId]))[0]?.length).toBeGreaterThan(1_000);
  expect(one.tally).toMatchObject({ waits: 0, states: ['up'] });
  await database.sql`update bots set description = repeat('x', 150) where org_id = ${orgId}`;
}, 60_000);

test('a sweep of thousands of values makes no command time out', async () => {
  const cache = await open({ maintains: true, timeoutMs: 300 });
  await cache.botDetails.readMany(ids);
  await cache.bot.readMany(ids);
  for (let start = 0; start < 5_000; start += 500)
    await database.sql`update bots set name = 'changed' where id = any (${ids.slice(start, start + 500)}::uuid[])`;
  await eventually(async () => (await calls('getrange')) > 5_000, 30_000);
  await eventually(() => (cache.tally.roundTrips.sweep ?? 0) > 10);
  expect(cache.tally).toMatchObject({ timeouts: 0, states: ['up'] });
}, 90_000);

describe('two server processes and an organization with ten thousand bots', () => {
  test('never treat a healthy Redis as unavailable because of their own load', async () => {
    // One caller asks for 100 pages at a time.
    const settings = { DATABASE_URL: database.url, REDIS_URL: redis.url, MAX_IN_FLIGHT: '1000' };
    const servers = await Promise.all([startServerProcess(settings), startServerProcess(settings)]);
    for (const server of servers) closers.push(async () => await server.end('SIGTERM'));
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const losses = async (url: string): Promise<number> => {
      const text = await (await fetch(new URL('/metrics', url))).text();
      return Number(/^flovo_redis_state_changes_total\{to="down"\} (\d+)/m.exec(text)?.[1] ?? 0);
    };
    const before = await Promise.all(servers.map(async ({ url }) => await losses(url)));
    const all = `{ organization(id: "${orgId}") { bots { id stats { totalMessages } } } }`;
    const page = (n: number) =>
      `{ bots(orgId: "${orgId}", page: ${n}, limit: 100) { items { id stats { totalMessages } } } }`;
    for (let round = 0; round < 5; round++) {
      await admin.flushall();
      await Promise.all(
        servers.map(async (server) => {
          const client = server.client(token);
          // The list may be refused as too long; the pages may not.
          await client.sendText(all, {});
          const pages = Array.from({ length: MANY / 100 }, (_, i) => page(i + 1));
          const answers = await Promise.all(pages.map(async (text) => await client.sendText(text, {})));
          for (const { errors } of answers) expect(errors).toBeUndefined();
        }),
      );
    }
    const outages = servers.flatMap(({ output }) =>
      output.filter((line) => line.includes('Redis unavailable')),
    );
    expect(outages).toEqual([]);
    expect(await Promise.all(servers.map(async ({ url }) => await losses(url)))).toEqual(before);
  }, 400_000);
});
