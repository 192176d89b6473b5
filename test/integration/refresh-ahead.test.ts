import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { BotsWithStatsDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';

/** So short that a test sees several lifetimes, and so long that a busy machine refreshes in time (s). */
const TTL_SECONDS = 4;
const BOTS = 12;

let database: TestDatabase;
let redis: RedisService;
let orgId: string;
let token: string;
let botIds: string[];

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  orgId = await addOrganization(database.sql);
  botIds = await addBots(database.sql, orgId, BOTS);
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
});

afterAll(async () => {
  await redis?.stop();
  await database?.drop();
});

describe('a page with statistics that is read steadily', () => {
  const apps: TestApp[] = [];

  afterEach(async () => {
    await Promise.all(apps.splice(0).map(async (app) => await app.close()));
  });

  const start = async (settings: Record<string, string>): Promise<TestApp> => {
    const ttl = String(TTL_SECONDS);
    const app = await startApp({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      CACHE_TTL_STATS: ttl,
      CACHE_TTL_LIST: ttl,
      ...settings,
    });
    apps.push(app);
    return app;
  };
  const RESOURCES = ['botPage', 'botStats'];
  const sum = async (app: TestApp, name: string, labels: Record<string, string> = {}): Promise<number> => {
    const each = RESOURCES.map(async (resource) => await app.metric(name, { resource, ...labels }));
    return (await Promise.all(each)).reduce((total, one) => total + one, 0);
  };
  const misses = async (app: TestApp) => await sum(app, 'flovo_cache_misses_total');
  const refreshed = async (app: TestApp) =>
    await sum(app, 'flovo_cache_refreshed_total', { outcome: 'refreshed' });
  const read = async (app: TestApp): Promise<void> => {
    await app.client(token).ask(BotsWithStatsDocument, { orgId, limit: BOTS });
  };
  /** Reads until a goal is reached. Returns the misses after the first read. */
  const missesWhile = async (app: TestApp, goal: (first: number) => Promise<boolean>): Promise<number> => {
    await read(app);
    const first = await misses(app);
    await eventually(async () => {
      await read(app);
      return await goal(first);
    }, 60_000);
    return (await misses(app)) - first;
  };

  test('is a hit again and again, with the response cache and without it; REFRESH_AHEAD=off lets it expire', async () => {
    const [cached, uncached, off] = await Promise.all([
      start({ CACHE_PREFIX: 'cached:' }),
      start({ CACHE_PREFIX: 'uncached:', RESPONSE_CACHE: 'off' }),
      start({ CACHE_PREFIX: 'off:', REFRESH_AHEAD: 'off' }),
    ]);
    const twice = 2 * (BOTS + 1);
    const [withResponses, withoutResponses, withoutRefreshes] = await Promise.all([
      missesWhile(cached, async () => (await refreshed(cached)) >= twice),
      missesWhile(uncached, async () => (await refreshed(uncached)) >= twice),
      missesWhile(off, async (first) => (await misses(off)) >= first + twice),
    ]);
    expect(withoutRefreshes).toBeGreaterThanOrEqual(twice);
    // On an idle machine there is none. One that stops for a third of a second may refresh too late.
    expect(Math.max(withResponses, withoutResponses)).toBeLessThan(twice / 4);
    expect(await refreshed(off)).toBe(0);
    // The values were loaded together: in one statement for each resource, or a few.
    expect(await sum(cached, 'flovo_cache_loads_total')).toBeLessThan(twice);
  }, 90_000);
});

describe('a value that is read steadily', () => {
  let botId: string;
  let cache: TestCache;

  beforeEach(async () => {
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
  });

  afterEach(async () => {
    await cache?.close();
  });

  const open = async (options: Partial<TestCacheOptions> = {}): Promise<void> => {
    cache = await openCache({
      databaseUrl: database.url,
      redis: { kind: 'standalone', url: redis.url },
      ttlSeconds: 3,
      ...options,
    });
    await cache.isUp();
  };
  const readUntil = async (isEnough: () => boolean): Promise<void> => {
    await eventually(async () => {
      expect(await cache.nameOf(botId)).toBe('bot 1');
      return isEnough();
    }, 30_000);
  };

  test('is loaded by a reader after a refresh has failed, which no reader notices', async () => {
    await open();
    await readUntil(() => cache.tally.hits > 0);
    cache.fail('bot', new Error('the database is on fire'));
    const { misses } = cache.tally;
    await readUntil(() => cache.tally.misses > misses);
    expect(cache.tally.refreshes).toEqual({ refreshed: 0, failed: 1 });
    expect(cache.logs.filter(({ level }) => Number(level) > 30)).toEqual([]);
    await readUntil(() => cache.tally.refreshes.refreshed > 0);
  });
});

test('values that nobody reads any more are left to expire', async () => {
  const cache = await openCache({
    databaseUrl: database.url,
    redis: { kind: 'standalone', url: redis.url },
    prefix: 'unread:',
    ttlSeconds: 1,
  });
  try {
    await cache.isUp();
    const [popular, ...unread] = botIds as [string, ...string[]];
    for (let i = 0; i < 5; i++) await cache.bot.readMany(unread);
    await eventually(async () => {
      await cache.bot.readMany([popular]);
      return cache.tally.refreshes.refreshed >= 3;
    });
    const { misses } = cache.tally;
    await cache.bot.readMany(unread);
    expect(cache.tally.misses).toBe(misses + unread.length);
  } finally {
    await cache.close();
  }
});
