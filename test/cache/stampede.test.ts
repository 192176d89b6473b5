import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';
import { startTopology, type Topology, type TopologyKind } from '../support/topology.js';

const READERS = 1_000;

const KINDS: readonly TopologyKind[] = ['standalone', 'cluster'];

describe.each(KINDS)('many readers of a value that is not cached on a %s Redis', (kind) => {
  let database: TestDatabase;
  let redis: Topology;
  let botKey: string;
  let orgId: string;
  let botId: string;
  const caches: TestCache[] = [];

  beforeAll(async () => {
    [redis, database] = await Promise.all([startTopology(kind), createDatabase()]);
    orgId = await addOrganization(database.sql);
  }, 60_000);

  afterAll(async () => {
    await database?.drop();
    await redis?.stop();
  });

  beforeEach(async () => {
    await redis.flush();
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    botKey = `bot:${redis.idInKey(botId)}`;
  });

  afterEach(async () => {
    for (const cache of caches.splice(0)) await cache.close();
  });

  const open = async (options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
    const cache = await openCache({
      databaseUrl: database.url,
      redis: redis.target,
      // A thousand readers keep the process busy.
      timeoutMs: 10_000,
      ...options,
    });
    caches.push(cache);
    return cache;
  };
  const rush = async (...to: TestCache[]): Promise<void> => {
    const names = await Promise.all(
      Array.from({ length: READERS }, async (_, i) => await (to[i % to.length] as TestCache).nameOf(botId)),
    );
    expect(new Set(names)).toEqual(new Set(['bot 1']));
  };
  const loads = (): number => caches.reduce((sum, { tally }) => sum + tally.loads, 0);

  test('of one process make one load', async () => {
    const cache = await open();
    await cache.isUp();
    await rush(cache);
    expect(loads()).toBe(1);
  });

  test('of three processes make about one load in all', async () => {
    const three = [await open(), await open(), await open()];
    await Promise.all(three.map(async (cache) => await cache.isUp()));
    await rush(...three);
    expect(loads()).toBeLessThanOrEqual(3);
    await rush(...three);
    expect(loads()).toBeLessThanOrEqual(3);
  });

  test('of three processes wait for the one that loads, and use the value that it stored', async () => {
    const [first, ...others] = [await open(), await open(), await open()] as [TestCache, ...TestCache[]];
    await Promise.all(caches.map(async (cache) => await cache.isUp()));
    const gate = first.hold('bot', 'before');
    const early = first.nameOf(botId);
    await gate.reached;
    const late = others.map(async (cache) => await cache.nameOf(botId));
    // Both have found the lock once they read the value a second time.
    while (others.some(({ tally }) => (tally.roundTrips.read ?? 0) < 2)) await redis.admin.get(botKey);
    gate.open();
    expect(await Promise.all([early, ...late])).toEqual(['bot 1', 'bot 1', 'bot 1']);
    expect(loads()).toBe(1);
    expect(others.map(({ tally }) => tally.waits)).toEqual([1, 1]);
  });

  test('do not wait for ever for a process that loads slowly', async () => {
    const [slow, other] = [await open(), await open()];
    await Promise.all(caches.map(async (cache) => await cache.isUp()));
    const gate = slow.hold('bot', 'before');
    const early = slow.nameOf(botId);
    await gate.reached;
    expect(await other.nameOf(botId)).toBe('bot 1');
    gate.open();
    expect(await early).toBe('bot 1');
  });

  test('wait only briefly, and do not fail, after the process that held the lock has died', async () => {
    const cache = await open();
    await cache.isUp();
    await cache.nameOf(botId);
    const generation = (await redis.admin.get(`${botKey}:gen`)) as string;
    for (let stored = 0; stored === 0;) stored = await redis.admin.del(botKey);
    await redis.admin.set(`${botKey}:lock`, generation, 'PX', 600_000);
    await rush(cache);
    // They were answered while the lock existed, by one load.
    expect(await redis.admin.pttl(`${botKey}:lock`)).toBeGreaterThan(0);
    expect(loads()).toBe(2);
  });

  test('of another value of the same batch do not wait for a lock', async () => {
    const cache = await open();
    await cache.isUp();
    const [other] = (await addBots(database.sql, orgId, 1)) as [string];
    await cache.nameOf(botId);
    const generation = (await redis.admin.get(`${botKey}:gen`)) as string;
    for (let stored = 0; stored === 0;) stored = await redis.admin.del(botKey);
    await redis.admin.set(`${botKey}:lock`, generation, 'PX', 600_000);
    const bots = await cache.bot.readMany([botId, other]);
    expect(bots.map((bot) => bot?.name)).toEqual(['bot 1', 'bot 1']);
    await eventually(async () => (await redis.admin.exists(`bot:${redis.idInKey(other)}`)) === 1);
  });

  test.each(['killed', 'frozen'] as const)(
    'make one load per process when Redis has been %s',
    async (fault) => {
      const three = [
        await open({ timeoutMs: 100 }),
        await open({ timeoutMs: 100 }),
        await open({ timeoutMs: 100 }),
      ];
      await Promise.all(three.map(async (cache) => await cache.isUp()));
      for (const { redis: node } of redis.nodes) {
        if (fault === 'killed') await node.kill();
        else node.freeze();
      }
      await rush(...three);
      expect(three.map(({ tally }) => tally.loads)).toEqual([1, 1, 1]);
      await rush(...three);
      expect(three.map(({ tally }) => tally.loads)).toEqual([2, 2, 2]);
      for (const { redis: node, restart } of redis.nodes) {
        if (fault === 'killed') await restart();
        else node.thaw();
      }
      await Promise.all(three.map(async (cache) => await cache.isUp()));
    },
  );

  test('make one load per process without Redis', async () => {
    const three = [await open({ redis: undefined }), await open({ redis: undefined })];
    await rush(...three);
    expect(three.map(({ tally }) => tally.loads)).toEqual([1, 1]);
  });

  test('see every write that was answered before they began, even if an older load was pending', async () => {
    const cache = await open({ redis: undefined });
    const gate = cache.hold('bot', 'after');
    const early = cache.nameOf(botId);
    await gate.reached;
    await database.sql`update bots set name = 'new' where id = ${botId}`;
    const late = Array.from({ length: 100 }, async () => await cache.nameOf(botId));
    gate.open();
    expect(await early).toBe('bot 1');
    expect(new Set(await Promise.all(late))).toEqual(new Set(['new']));
    expect(cache.tally.loads).toBe(2);
  });
});
