import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { startApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache } from '../support/test-cache.js';
import { startTopology, type Topology, type TopologyKind } from '../support/topology.js';
import { exerciseApi } from './api.js';

/** Commands that remove entries outside list pages: a bot and its organization may be on two nodes of a cluster. */
const KINDS: readonly [TopologyKind, { readonly removals: number }][] = [
  ['standalone', { removals: 1 }],
  ['cluster', { removals: 2 }],
];

/** The contract limits the commands of an invalidation. */
describe.each(KINDS)('the cost of an invalidation on a %s Redis', (kind, { removals }) => {
  let database: TestDatabase;
  let redis: Topology;
  let orgId: string;
  let botId: string;
  let cache: TestCache;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), startTopology(kind)]);
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 20)) as [string];
  }, 60_000);

  afterAll(async () => {
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await redis.flush();
    // This cache does not maintain the log, because those commands would count as well.
    cache = await openCache({ databaseUrl: database.url, redis: redis.target });
    await cache.isUp();
  });

  afterEach(async () => {
    await cache.close();
  });

  /** Commands that Redis has run since its statistics were reset, those within scripts included. */
  const commands = async (): Promise<Record<string, number>> => {
    const sums: Record<string, number> = {};
    for (const { admin } of redis.nodes) {
      const stats = await admin.info('commandstats');
      for (const [, name = '', count] of stats.matchAll(/cmdstat_([\w|]+):calls=(\d+)/g))
        sums[name] = (sums[name] ?? 0) + Number(count);
    }
    const { info: _info, 'config|resetstat': _reset, ...rest } = sums;
    return rest;
  };
  const size = async (): Promise<number> => {
    const sizes = await Promise.all(redis.nodes.map(async ({ admin }) => await admin.dbsize()));
    return sizes.reduce((sum, each) => sum + each, 0);
  };
  const costOf = async (work: () => Promise<unknown>): Promise<Record<string, number>> => {
    for (const { admin } of redis.nodes) await admin.config('RESETSTAT');
    await work();
    return await commands();
  };
  const populate = async (count: number): Promise<void> => {
    await redis.admin.eval(
      `for i = 1, ARGV[1] do redis.call('SET', KEYS[1] .. i .. ':limit:20:search:', 'x', 'EX', 600) end`,
      1,
      `bots:org:${redis.idInKey('other')}:page:`,
      count,
    );
  };
  const warm = async (): Promise<void> => {
    await Promise.all([
      cache.bot.readMany([botId]),
      cache.botDetails.readMany([botId]),
      cache.botStats.readMany([botId]),
      cache.organizationBots.readMany([orgId]),
      cache.botPage.readMany([1, 2, 3].map((page) => ({ orgId, page, limit: 5, search: '' }))),
    ]);
    // Wait until every node has stored its values, because late fills would be counted.
    const [bot, org] = [`bot:${redis.idInKey(botId)}`, `org:${redis.idInKey(orgId)}`];
    const values = [bot, `${bot}:details`, `${bot}:stats`, `${org}:bots`];
    await eventually(async () => {
      const stored = await Promise.all(values.map(async (key) => await redis.admin.exists(key)));
      return stored.every((count) => count === 1) && (await redis.admin.zcard(`${org}:index`)) >= 3;
    });
  };

  test.each([10, 100_000])('is the same few commands whether Redis holds %d other keys', async (others) => {
    await populate(others);
    await warm();
    expect(await size()).toBeGreaterThan(others);
    const cost = await costOf(async () => await cache.invalidation.botChanged({ id: botId, orgId }));
    // One for all generations and values of an entity, or of all, and a script with two commands for each of two indexes:
    // the organization's list pages and the bot's pages of messages.
    expect(cost).toEqual({ unlink: removals + 2, eval: 2, zrange: 2 });
    expect(await size()).toBeLessThanOrEqual(others + 1);
  });

  test('is one command if the entry is in no list', async () => {
    await warm();
    const tag = `bot:${botId}`;
    expect(await costOf(async () => await cache.cache.invalidator.invalidate([tag]))).toEqual({ unlink: 1 });
  });

  test('is two scripts if statistics are replaced, however many messages are written', async () => {
    await warm();
    for (let i = 0; i < 3; i++) {
      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
        values (${botId}, 'c', 'c', 'INBOUND')`;
      const cost = await costOf(async () => await cache.botStatsChanged(botId));
      // One adds the write to the generations of its tags, on each of their nodes; one replaces the statistics. The
      // organization's statistics are removed beside it.
      expect(cost).toEqual({ eval: removals + 1, mget: removals + 1, set: 3, unlink: 3, zrange: 1 });
    }
  });

  test('is the same if nothing was cached', async () => {
    const cost = await costOf(async () => await cache.invalidation.botChanged({ id: botId, orgId }));
    expect(cost).toEqual({ unlink: removals + 2, eval: 2, zrange: 2 });
  });

  test('is one round trip', async () => {
    await warm();
    const before = cache.tally.roundTrips.invalidate ?? 0;
    await cache.invalidation.botChanged({ id: botId, orgId });
    expect(cache.tally.roundTrips.invalidate).toBe(before + 1);
  });

  test('does not include a scan of the keyspace, whatever the servers do', async () => {
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const settings = { ...redis.settings, DATABASE_URL: database.url, CACHE_PREFIX: 'mine:' };
    const apps = await Promise.all([startApp(settings), startApp(settings)]);
    const [one, two] = apps.map((app) => app.client(token));
    if (!one || !two) throw new Error('There are two');
    try {
      const ran = await costOf(async () => {
        await exerciseApi([one, two], orgId, database);
        await database.sql`update bots set description = 'changed from outside' where org_id = ${orgId}`;
        await exerciseApi([two, one], orgId, database);
        // Repeat until the sweep has run.
        while (!(await commands()).getrange) await exerciseApi([one, two], orgId, database);
      });
      const known =
        'mget get set del unlink eval zadd zcard zpopmin zrange zremrangebyscore pexpire pttl time getrange ping';
      expect(Object.keys(ran).filter((name) => !known.split(' ').includes(name))).toEqual([]);
    } finally {
      await Promise.all(apps.map(async (app) => await app.close()));
    }
  });
});
