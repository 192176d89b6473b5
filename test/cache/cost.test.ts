import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { startApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache } from '../support/test-cache.js';
import { exerciseApi } from './api.js';

/** What the contract promises of the work that Redis has with an invalidation. */
describe('the cost of an invalidation', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let orgId: string;
  let botId: string;
  let cache: TestCache;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 20)) as [string];
  });

  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await admin.flushall();
    // It does not tend the log, which would count as well.
    cache = await openCache({ databaseUrl: database.url, redis: { kind: 'standalone', url: redis.url } });
    await cache.isUp();
  });

  afterEach(async () => {
    await cache.close();
  });

  /** Commands that Redis has run since its statistics were reset, those within scripts included. */
  const commands = async (): Promise<Record<string, number>> => {
    const stats = await admin.info('commandstats');
    const calls = [...stats.matchAll(/cmdstat_([\w|]+):calls=(\d+)/g)].map(([, name, count]) => [
      name,
      Number(count),
    ]);
    const {
      info: _info,
      'config|resetstat': _reset,
      ...rest
    } = Object.fromEntries(calls) as Record<string, number>;
    return rest;
  };
  const costOf = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    await admin.config('RESETSTAT');
    await work();
    return await commands();
  };
  const populate = async (count: number): Promise<void> => {
    await admin.eval(
      `for i = 1, ARGV[1] do redis.call('SET', 'bots:org:other:page:' .. i .. ':limit:20:search:', 'x', 'EX', 600) end`,
      0,
      count,
    );
  };
  const warm = async (): Promise<void> => {
    await Promise.all([
      cache.bot.readMany([botId]),
      cache.details.readMany([botId]),
      cache.stats.readMany([botId]),
      cache.org.readMany([orgId]),
      cache.list.readMany([1, 2, 3].map((page) => ({ orgId, page, limit: 5, search: '' }))),
    ]);
    while ((await admin.zcard(`org:${orgId}:index`)) < 3);
  };

  test.each([10, 100_000])('is the same few commands whether Redis holds %d other keys', async (others) => {
    await populate(others);
    await warm();
    expect(await admin.dbsize()).toBeGreaterThan(others);
    const cost = await costOf(async () => await cache.invalidation.botChanged({ id: botId, orgId }));
    // One for all generations and values, and one script for the list pages, with two commands in it.
    expect(cost).toEqual({ unlink: 2, eval: 1, zrange: 1 });
    expect(await admin.dbsize()).toBeLessThanOrEqual(others + 1);
  });

  test('is one command where no list is concerned', async () => {
    await warm();
    const tag = `bot:${botId}:stats`;
    expect(await costOf(async () => await cache.cache.invalidator.invalidate([tag]))).toEqual({ unlink: 1 });
  });

  test('is one script where statistics are replaced, however many messages are written', async () => {
    await warm();
    while ((await admin.exists(`bot:${botId}:stats`)) === 0);
    for (let i = 0; i < 3; i++) {
      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
        values (${botId}, 'c', 'c', 'INBOUND')`;
      const cost = await costOf(async () => await cache.botStatsChanged(botId));
      expect(cost).toEqual({ eval: 1, get: 2, set: 2, unlink: 1 });
    }
  });

  test('is the same if nothing was cached', async () => {
    const cost = await costOf(async () => await cache.invalidation.botChanged({ id: botId, orgId }));
    expect(cost).toEqual({ unlink: 2, eval: 1, zrange: 1 });
  });

  test('is one round trip', async () => {
    await warm();
    const before = cache.tally.roundTrips.invalidate ?? 0;
    await cache.invalidation.botChanged({ id: botId, orgId });
    expect(cache.tally.roundTrips.invalidate).toBe(before + 1);
  });

  test('the keyspace is never searched, whatever the servers do', async () => {
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const settings = { DATABASE_URL: database.url, REDIS_URL: redis.url, CACHE_PREFIX: 'mine:' };
    const apps = await Promise.all([startApp(settings), startApp(settings)]);
    const [one, two] = apps.map((app) => app.client(token));
    if (!one || !two) throw new Error('There are two');
    try {
      const ran = await costOf(async () => {
        await exerciseApi([one, two], orgId, database);
        await database.sql`update bots set description = 'changed from outside' where org_id = ${orgId}`;
        await exerciseApi([two, one], orgId, database);
        // So that the sweep has its turn, too.
        while (!(await commands()).getrange) await exerciseApi([one, two], orgId, database);
      });
      const known =
        'mget get set del unlink eval zadd zrange zremrangebyscore zremrangebyrank pexpire time getrange';
      expect(Object.keys(ran).filter((name) => !known.split(' ').includes(name))).toEqual([]);
    } finally {
      await Promise.all(apps.map(async (app) => await app.close()));
    }
  });
});
