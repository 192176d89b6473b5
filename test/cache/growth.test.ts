import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache } from '../support/test-cache.js';
import { startTopology, type Topology, type TopologyKind } from '../support/topology.js';

/** The number of ids that a client asks for; they are forbidden or do not exist. */
const MANY = 1_000;
/** Ids per request. */
const BATCH = 100;
const NEGATIVE_LIFE_MS = 10_000;

const KINDS: readonly TopologyKind[] = ['standalone', 'cluster'];

describe.each(KINDS)('the keys that clients create in a %s Redis', (kind) => {
  let database: TestDatabase;
  let redis: Topology;
  let orgId: string;
  let cache: TestCache;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), startTopology(kind)]);
    orgId = await addOrganization(database.sql);
  }, 60_000);

  afterAll(async () => {
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await redis.flush();
    cache = await openCache({ databaseUrl: database.url, redis: redis.target });
    await cache.isUp();
  });

  afterEach(async () => {
    await cache.close();
  });

  /** Without the one key of the writes that changed everything, which no client makes. */
  const size = async (): Promise<number> =>
    (await redis.keys()).filter((key) => !key.includes('everything:')).length;
  const inBatches = async <Id>(ids: readonly Id[], read: (batch: Id[]) => Promise<unknown>) => {
    for (let i = 0; i < ids.length; i += BATCH) await read(ids.slice(i, i + BATCH));
  };
  /** Waits for the fills, by their locks: a fill frees its lock. */
  const filled = async (): Promise<string[]> => {
    await eventually(async () => !(await redis.keys()).some((key) => key.endsWith(':lock')));
    return await redis.keys();
  };
  const lives = async (keys: readonly string[]): Promise<number[]> =>
    await Promise.all(keys.map(async (key) => await redis.admin.pttl(key)));

  /** The longest TTL of any key (ms). */
  const longestLife = async (): Promise<number> => {
    const script = `local longest = 0
      for _, key in ipairs(redis.call('KEYS', '*')) do
        if not string.find(key, 'everything:', 1, true) then longest = math.max(longest, redis.call('PTTL', key)) end
      end
      return longest`;
    const each = await Promise.all(redis.nodes.map(async ({ admin }) => Number(await admin.eval(script, 0))));
    return Math.max(...each);
  };
  const strangers = () => Array.from({ length: MANY }, () => randomUUID());

  test('ids that do not exist leave no key that outlives the cached absence', async () => {
    const page = { page: 1, limit: 20 };
    await inBatches(strangers(), async (ids) => {
      await Promise.all([
        cache.bot.readMany(ids),
        cache.botDetails.readMany(ids),
        cache.botStats.readMany(ids),
      ]);
    });
    await inBatches(strangers(), async (ids) => await cache.organization.readMany(ids));
    await inBatches(strangers(), async (ids) => await cache.principal.readMany(ids));
    await inBatches(
      strangers(),
      async (ids) => await cache.botPage.readMany(ids.map((id) => ({ orgId: id, search: '', ...page }))),
    );
    const stranger = randomUUID();
    await inBatches(
      strangers().slice(0, 200),
      async (texts) =>
        await cache.botPage.readMany(texts.map((search) => ({ orgId: stranger, search, ...page }))),
    );
    await filled();
    expect(await longestLife()).toBeLessThanOrEqual(NEGATIVE_LIFE_MS);
    await eventually(async () => (await size()) === 0);
  }, 120_000);

  test('include generations that outlive every value stored under them', async () => {
    const [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    // A cached absence creates short-lived generations; later values are stored under them.
    const id = randomUUID();
    await Promise.all([cache.bot.readMany([id]), cache.botDetails.readMany([id])]);
    await filled();
    await database.sql`insert into bots (id, org_id, name) values (${id}, ${orgId}, 'late')`;
    for (const each of [id, botId]) {
      await cache.bot.readMany([each]);
      await cache.botStats.readMany([each]);
      await cache.botDetails.readMany([each]);
    }
    await cache.organizationBots.readMany([orgId]);
    await cache.organization.readMany([orgId]);
    await cache.botPage.readMany([{ orgId, page: 1, limit: 20, search: '' }]);
    const keys = await filled();
    const stored = await Promise.all(
      keys
        .filter((key) => !/:(gen|index)$/.test(key) && key !== 'probe')
        .map(async (key) => ({ key, text: (await redis.admin.get(key)) ?? '' })),
    );
    const generations = new Map<string, string>();
    for (const key of keys.filter((name) => name.endsWith(':gen')))
      generations.set((await redis.admin.get(key)) ?? '', key);
    let checked = 0;
    for (const { key, text } of stored) {
      const { gen, data } = JSON.parse(text) as { gen: string; data: unknown };
      if (data === null) continue;
      for (const token of gen.split('.')) {
        const generation = generations.get(token);
        if (generation === undefined) continue;
        const [value, its] = (await lives([key, generation])) as [number, number];
        expect(its).toBeGreaterThan(value);
        checked += 1;
      }
    }
    expect(checked).toBeGreaterThan(6);
  });

  test('an organization never has more than 1,000 pages, whatever is searched for', async () => {
    const search = async () =>
      await inBatches(
        Array.from({ length: 2_500 }, (_, i) => `text ${i}`),
        async (texts) => {
          await cache.botPage.readMany(texts.map((text) => ({ orgId, page: 1, limit: 20, search: text })));
        },
      );
    const pagesIn = (found: readonly string[]) => found.filter((key) => key.startsWith('bots:org:'));
    // A text is stored when it is searched for again.
    await search();
    expect(pagesIn(await filled())).toEqual([]);
    await search();
    const keys = await filled();
    const pages = pagesIn(keys);
    expect(pages.length).toBeLessThanOrEqual(1_000);
    expect(pages.length).toBeGreaterThan(900);
    const index = `org:${redis.idInKey(orgId)}:index`;
    expect(await redis.admin.zcard(index)).toBe(pages.length);
    // The index lives as long as the pages, so an invalidation finds them all.
    const longest = Math.max(...(await lives(pages)));
    expect(await redis.admin.pttl(index)).toBeGreaterThanOrEqual(longest);
    await cache.cache.invalidator.invalidate([`org:${orgId}`]);
    expect((await redis.keys()).filter((key) => key.startsWith('bots:org:'))).toEqual([]);
  }, 60_000);
});

describe('the memory that clients use in a process', () => {
  test('does not retain request bodies through substrings of their ids', async () => {
    const database = await createDatabase();
    const cache = await openCache({ databaseUrl: database.url, redis: undefined });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = () => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    try {
      const orgId = randomUUID();
      const before = heap();
      for (let i = 0; i < 200; i++) {
        // A parser cuts ids and texts out of a 500 kB document like this.
        const id = randomUUID();
        const document = `${id} what is searched for, ${id}${' '.repeat(500_000)}${i}`;
        const search = document.slice(37, 37 + 59);
        await cache.bot.readMany([document.slice(0, 36)]);
        await cache.botPage.readMany([{ orgId, page: 1, limit: 20, search }]);
      }
      expect(heap() - before).toBeLessThan(20_000_000);
    } finally {
      await cache.close();
      await database.drop();
    }
  }, 60_000);
});
