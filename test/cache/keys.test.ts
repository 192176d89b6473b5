import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { encodeKeyText } from '../../src/cache/core/keys.js';
import { ConfigError, readConfig } from '../../src/config.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache } from '../support/test-cache.js';
import { cluster, standalone, type Topology } from '../support/topology.js';

/** TTLs of the contract (s). */
const TABLE = { bot: 300, details: 300, stats: 60, list: 180, org: 600, orgStats: 60 };
const FIRST_PAGE = { page: 1, limit: 20, search: '' };

/** Texts that try to break out of a key, to look like another text's key, or to act as a pattern. */
const NASTY_TEXTS = [
  '',
  '*',
  '?',
  '[a-z]',
  '%2A',
  '%252A',
  'a:b',
  ':search:',
  '{',
  '{}',
  '}{',
  'page:2:limit:20',
  'sha256:',
  `sha256:${'0'.repeat(64)}`,
  "it's (not) ~easy!",
  '\\',
  '"',
  'line\nfeed\r\n',
  'tab\t.',
  'İstanbul',
  'é',
  'e\u0301',
  '🤖',
  'x'.repeat(64),
  'x'.repeat(65),
  `${'x'.repeat(65)}y`,
  '漢'.repeat(200),
];

describe.each([
  ['standalone', standalone],
  ['cluster', cluster],
] as const)('the keys on a %s Redis', (_, start) => {
  let topology: Topology;
  let database: TestDatabase;
  let orgId: string;
  let botId: string;
  let userId: string;
  let cache: TestCache;

  beforeAll(async () => {
    [topology, database] = await Promise.all([start(), createDatabase()]);
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    ({ id: userId } = await addUser(database.sql, { [orgId]: 'VIEWER' }));
  }, 60_000);

  afterAll(async () => {
    await database?.drop();
    await topology?.stop();
  });

  beforeEach(async () => {
    await topology.flush();
  });

  afterEach(async () => {
    await cache.close();
  });

  const open = async (prefix = ''): Promise<void> => {
    cache = await openCache({ databaseUrl: database.url, redis: topology.target, prefix, deaf: true });
    await cache.isUp();
  };
  const readEverything = async (): Promise<void> => {
    await Promise.all([
      cache.bot.readMany([botId]),
      cache.botDetails.readMany([botId]),
      cache.botStats.readMany([botId]),
      cache.botPage.readMany([{ orgId, ...FIRST_PAGE }]),
      cache.organizationBots.readMany([orgId]),
      cache.organization.readMany([orgId]),
      cache.organizationStats.readMany([orgId]),
      cache.principal.readMany([userId]),
    ]);
    // Reads do not wait for fills.
    await eventually(
      async () =>
        (await topology.keys()).filter((key) => !/:(gen|index|lock)$|probe$/.test(key)).length === 8,
    );
  };

  test.each(['', 'acme:eu-1.'])('are those of the contract, behind the prefix "%s"', async (prefix) => {
    await open(prefix);
    await readEverything();
    const [bot, org, user] = [botId, orgId, userId].map((id) => topology.idInKey(id));
    const keys = (await topology.keys()).filter((key) => key !== `${prefix}probe`);
    expect(keys.sort()).toEqual(
      [
        `bot:${bot}`,
        `bot:${bot}:details`,
        `bot:${bot}:stats`,
        `bots:org:${org}:page:1:limit:20:search:`,
        `org:${org}:bots`,
        `org:${org}:stats`,
        // Keys of the cache itself, and keys that the contract does not name.
        `bot:${bot}:gen`,
        `bot:${bot}:stats:gen`,
        `org:${org}`,
        `org:${org}:gen`,
        `org:${org}:index`,
        `org:${org}:stats:gen`,
        `user:${user}`,
        `user:${user}:gen`,
      ]
        .map((key) => prefix + key)
        .sort(),
    );
  });

  test('hold readable JSON', async () => {
    await open();
    await readEverything();
    const read = async (key: string): Promise<unknown> => JSON.parse((await topology.admin.get(key)) ?? '');
    const id = topology.idInKey(botId);
    const bot = expect.objectContaining({ id: botId, name: 'bot 1', version: 1, startedAt: null });
    const stats = expect.objectContaining({ botId, totalMessages: 0 });
    const envelope = {
      gen: expect.stringMatching(/^[\w.-]+$/),
      snapshot: expect.stringMatching(/^\d+:\d+:/),
    };
    const holding = (data: unknown) => expect.objectContaining({ ...envelope, data });
    expect(await read(`bot:${id}`)).toEqual(holding(bot));
    expect(await read(`bot:${id}:stats`)).toEqual(holding(stats));
    expect(await read(`bot:${id}:details`)).toEqual(holding({ bot, stats }));
    expect(await read(`org:${topology.idInKey(orgId)}:bots`)).toEqual(holding([bot]));
    expect(await read(`bots:org:${topology.idInKey(orgId)}:page:1:limit:20:search:`)).toEqual(
      holding({ total: 1, items: [bot] }),
    );
  });

  test('live for the TTL of the contract or up to a tenth less, each for another time', async () => {
    await open();
    const ids = await addBots(database.sql, orgId, 30);
    const queries = ids.map((__, i) => ({ orgId, page: i + 1, limit: 20, search: '' }));
    const organizations = await Promise.all(
      ids.map(async () => await addOrganization(database.sql, 'Other')),
    );
    const startedAt = performance.now();
    await Promise.all([
      cache.bot.readMany(ids),
      cache.botDetails.readMany(ids),
      cache.botStats.readMany(ids),
      cache.botPage.readMany(queries),
      cache.organizationBots.readMany(organizations),
      cache.organizationStats.readMany(organizations),
    ]);
    const lives = async (keys: readonly string[]): Promise<number[]> => {
      // Wait for the fills.
      for (;;) {
        const left = await Promise.all(keys.map(async (key) => await topology.admin.pttl(key)));
        if (!left.includes(-2)) return left;
      }
    };
    const org = topology.idInKey(orgId);
    const keys = {
      bot: ids.map((id) => `bot:${topology.idInKey(id)}`),
      details: ids.map((id) => `bot:${topology.idInKey(id)}:details`),
      stats: ids.map((id) => `bot:${topology.idInKey(id)}:stats`),
      list: queries.map(({ page }) => `bots:org:${org}:page:${page}:limit:20:search:`),
      org: organizations.map((id) => `org:${topology.idInKey(id)}:bots`),
      orgStats: organizations.map((id) => `org:${topology.idInKey(id)}:stats`),
    };
    for (const [what, seconds] of Object.entries(TABLE)) {
      const left = await lives(keys[what as keyof typeof keys]);
      const elapsedMs = performance.now() - startedAt;
      expect(Math.max(...left)).toBeLessThanOrEqual(seconds * 1_000);
      expect(Math.min(...left)).toBeGreaterThan(seconds * 900 - elapsedMs - 1);
      // Thirty TTLs from a range of thousands of milliseconds.
      expect(new Set(left).size).toBeGreaterThan(10);
    }
  });

  test('of absent rows live briefly', async () => {
    await open();
    const id = randomUUID();
    await Promise.all([
      cache.bot.readMany([id]),
      cache.botDetails.readMany([id]),
      cache.botStats.readMany([id]),
    ]);
    for (const key of [`bot:${id}`, `bot:${id}:details`, `bot:${id}:stats`]) {
      const inRedis = key.replace(id, topology.idInKey(id));
      await eventually(async () => (await topology.admin.exists(inRedis)) === 1);
      const left = await topology.admin.pttl(inRedis);
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(10_000);
      expect(JSON.parse((await topology.admin.get(inRedis)) ?? '')).toMatchObject({ data: null });
    }
  });

  test('all have a TTL, whatever clients did', async () => {
    await open();
    const ids = [...(await addBots(database.sql, orgId, 10)), randomUUID()];
    for (let round = 0; round < 15; round++) {
      const id = ids[round % ids.length] as string;
      await Promise.all([
        cache.bot.readMany(ids),
        cache.botDetails.readMany([id]),
        cache.botStats.readMany(ids),
        cache.botPage.readMany([{ orgId, page: (round % 5) + 1, limit: 10, search: `${round % 5}` }]),
        cache.organizationBots.readMany([orgId]),
        cache.principal.readMany([userId]),
        round % 3 === 0 ? cache.invalidation.botChanged({ id, orgId }) : undefined,
      ]);
    }
    cache.fail('bot', new Error('no'));
    await expect(cache.nameOf(botId)).rejects.toThrow('no');
    const keys = await topology.keys();
    expect(keys.length).toBeGreaterThan(40);
    const lives = await Promise.all(keys.map(async (key) => await topology.admin.pttl(key)));
    expect(keys.filter((__, i) => lives[i] === -1)).toEqual([]);
    // Nothing outlives an hour.
    expect(Math.max(...lives)).toBeLessThanOrEqual(3_600_000);
  });

  test('of searches contain no character that is special to Redis, and no two searches share one', async () => {
    await open();
    await Promise.all(
      NASTY_TEXTS.map(
        async (text) =>
          await database.sql`insert into bots (org_id, name, description) values
          (${orgId}, ${`named ${text}`.slice(0, 120)}, ${text})`,
      ),
    );
    const read = async (search: string) =>
      (await cache.botPage.readMany([{ orgId, page: 1, limit: 100, search }]))[0]?.total;
    const cold = await Promise.all(NASTY_TEXTS.map(read));
    // A text is stored when it is searched for again.
    expect(await Promise.all(NASTY_TEXTS.map(read))).toEqual(cold);
    const prefix = `bots:org:${topology.idInKey(orgId)}:page:1:limit:100:search:`;
    const keys = await eventually(async () => {
      const found = (await topology.keys()).filter((key) => key.startsWith(prefix) && !key.endsWith(':lock'));
      return found.length >= NASTY_TEXTS.length && found;
    });
    expect(keys).toHaveLength(NASTY_TEXTS.length);
    for (const key of keys) expect(key.slice(prefix.length)).toMatch(/^[\w.~%:-]{0,192}$/);
    const { loads } = cache.tally;
    expect(await Promise.all(NASTY_TEXTS.map(read))).toEqual(cold);
    expect(cache.tally.loads).toBe(loads);
    expect(Math.min(...(cold as number[]))).toBeGreaterThan(0);
    await database.sql`delete from bots where name like 'named %'`;
  });

  describe('the index of list pages', () => {
    const index = () => `org:${topology.idInKey(orgId)}:index`;
    const pages = async () => (await topology.keys()).filter((key) => key.startsWith('bots:org:'));
    const fill = async (query: { page: number }) => {
      await cache.botPage.readMany([{ orgId, limit: 20, search: '', ...query }]);
      const key = `bots:org:${topology.idInKey(orgId)}:page:${query.page}:limit:20:search:`;
      await eventually(async () => (await topology.admin.exists(key)) === 1);
    };

    test('lets an invalidation remove every page, and is removed with them', async () => {
      await open();
      for (let page = 1; page <= 25; page++) await fill({ page });
      expect(await pages()).toHaveLength(25);
      await cache.invalidation.botChanged({ id: botId, orgId });
      expect(await pages()).toEqual([]);
      expect(await topology.admin.exists(index())).toBe(0);
    });

    test('is bounded, and forgets pages that have expired', async () => {
      await open();
      const future = Date.now() + 100_000;
      const key = (i: number) => `bots:org:${topology.idInKey(orgId)}:page:${i}:limit:1:search:`;
      for (let i = 0; i < 2_000; i++) void topology.admin.zadd(index(), future + i, key(i));
      await topology.admin.zadd(index(), Date.now() - 1, 'expired');
      await fill({ page: 1 });
      expect(await topology.admin.zcard(index())).toBe(1_000);
      expect(await topology.admin.zscore(index(), 'expired')).toBeNull();
      const [last] = await topology.admin.zrevrange(index(), 0, 0);
      expect(last).toBe(`bots:org:${topology.idInKey(orgId)}:page:1:limit:20:search:`);
    });
  });
});

describe('the encoding of a search text', () => {
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.string({ unit: fc.constantFrom('%', '2', 'A', 'a', ':', '*', '{', '}', '~', "'"), maxLength: 40 }),
    fc.constantFrom(...NASTY_TEXTS),
  );

  test('gives different texts different keys', () => {
    fc.assert(
      fc.property(text, text, (one, other) => {
        expect(encodeKeyText(one) === encodeKeyText(other)).toBe(one === other);
      }),
      { numRuns: 3_000 },
    );
  });

  test('encodes an encoded text differently', () => {
    fc.assert(
      fc.property(text, (one) => {
        const encoded = encodeKeyText(one);
        expect(encodeKeyText(encoded) === encoded).toBe(encoded === one);
      }),
    );
  });

  test('is short, and contains no character that is special to Redis', () => {
    fc.assert(
      fc.property(text, (one) => {
        expect(encodeKeyText(one)).toMatch(/^([\w.~%-]{0,64}|sha256:[0-9a-f]{64})$/);
      }),
    );
  });
});

test.each([
  ['CACHE_TTL_BOT', TABLE.bot],
  ['CACHE_TTL_DETAILS', TABLE.details],
  ['CACHE_TTL_STATS', TABLE.stats],
  ['CACHE_TTL_LIST', TABLE.list],
  ['CACHE_TTL_ORG', TABLE.org],
  ['CACHE_TTL_ORG_STATS', TABLE.orgStats],
])('%s can be shortened, but never exceeds %d seconds', (variable, seconds) => {
  const settings = { DATABASE_URL: 'postgres://localhost/x', REDIS_URL: 'off', JWT_SECRET: 'x' };
  expect(() => readConfig({ ...settings, [variable]: `${seconds + 1}` })).toThrow(ConfigError);
  expect(() => readConfig({ ...settings, [variable]: '1' })).not.toThrow();
});
