import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';

import { connectRedis } from '../../src/cache/redis/redis-client.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createRedisCluster, type RedisClusterService } from '../support/redis-cluster.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';
import { cluster } from '../support/topology.js';
import { exerciseApi, expectViews } from './api.js';
import { describeRaces } from './race-cases.js';

describeRaces('cluster', cluster);

describe('a Redis Cluster', () => {
  let redis: RedisClusterService;
  let database: TestDatabase;
  let orgId: string;
  let token: string;
  const closers: (() => Promise<void> | void)[] = [];

  beforeAll(async () => {
    [redis, database] = await Promise.all([createRedisCluster(), createDatabase()]);
    orgId = await addOrganization(database.sql);
    ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
  }, 60_000);

  afterAll(async () => {
    await database?.drop();
    await redis?.stop();
  });

  afterEach(async () => {
    for (const close of closers.splice(0).toReversed()) await close();
    for (const { proxy, redis: node } of redis.nodes) {
      node.thaw();
      await proxy.resume();
    }
  });

  const open = async (options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
    const cache = await openCache({ databaseUrl: database.url, redis: redis.target, ...options });
    closers.push(cache.close);
    await cache.isUp();
    return cache;
  };
  const start = async (): Promise<TestApp> => {
    const { target } = redis;
    const nodes = target.kind === 'cluster' ? target.nodes.join(',') : '';
    const app = await startApp({
      DATABASE_URL: database.url,
      REDIS_CLUSTER_NODES: nodes,
      REDIS_TIMEOUT_MS: '300',
    });
    closers.push(app.close);
    return app;
  };
  const keySlot = async (key: string): Promise<number> =>
    Number(await redis.nodes[0]?.admin.cluster('KEYSLOT', key));

  test('stores all keys of one bot, or of one organization, in one slot', async () => {
    const cache = await open();
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const search = { orgId, page: 1, limit: 20, search: 'any {text}' };
    // A text is stored when it is searched for again.
    await cache.botPage.readMany([search]);
    await Promise.all([
      cache.bot.readMany([id]),
      cache.botDetails.readMany([id]),
      cache.botStats.readMany([id]),
      cache.organizationBots.readMany([orgId]),
      cache.organization.readMany([orgId]),
      cache.botPage.readMany([search]),
    ]);
    const keysOf = async (one: string) =>
      (await Promise.all(redis.nodes.map(async ({ admin }) => await admin.keys(`*${one}*`)))).flat();
    await eventually(async () => (await keysOf(id)).length >= 5 && (await keysOf(orgId)).length >= 5);
    for (const one of [id, orgId]) {
      const slots = await Promise.all((await keysOf(one)).map(keySlot));
      expect(new Set(slots).size).toBe(1);
    }
  });

  test('is asked for a value and its generations with one command', async () => {
    const cache = await open({ deaf: true });
    const ids = await addBots(database.sql, orgId, 3);
    const read = async () => await cache.botDetails.readMany(ids);
    await eventually(async () => {
      const { hits } = cache.tally;
      await read();
      return cache.tally.hits === hits + ids.length;
    });
    const calls = async () => {
      const stats = await Promise.all(redis.nodes.map(async ({ admin }) => await admin.info('commandstats')));
      return stats.reduce((sum, text) => sum + Number(/cmdstat_mget:calls=(\d+)/.exec(text)?.[1] ?? 0), 0);
    };
    const before = await calls();
    await read();
    // One more reads what changed everything, which has a slot of its own.
    expect((await calls()) - before).toBe(ids.length + 1);
  });

  test('is read, filled and invalidated in batches across its nodes', async () => {
    const [one, two] = [await open({ deaf: true }), await open({ deaf: true })];
    const ids = [...(await addBots(database.sql, orgId, 60)), randomUUID()];
    const nodes = await Promise.all(ids.map(async (id) => await redis.nodeOf(`bot:{${id}}`)));
    expect(new Set(nodes).size).toBe(3);
    const names = async (cache: TestCache) => (await cache.bot.readMany(ids)).map((bot) => bot?.name);
    const expected = [...ids.slice(1).map((_, i) => `bot ${i + 1}`), undefined];
    expect(await names(one)).toEqual(expected);
    await eventually(async () => {
      const { hits } = two.tally;
      expect(await names(two)).toEqual(expected);
      return two.tally.hits === hits + ids.length;
    });
    await database.sql`update bots set name = name || ', renamed' where id = any (${ids})`;
    await one.cache.invalidator.invalidate(ids.map((id) => `bot:${id}`));
    expect(await names(two)).toEqual(expected.map((name) => name && `${name}, renamed`));
  });

  test('serves two servers, including list pages', async () => {
    const [one, two] = [await start(), await start()];
    await exerciseApi([one.client(token), two.client(token)], orgId, database);
    for (const operation of ['read', 'claim', 'fill', 'invalidate'])
      expect(await one.metric('flovo_redis_failures_total', { operation })).toBe(0);
    expect(await two.metric('flovo_cache_hits_total')).toBeGreaterThan(0);
  });

  test('stays in use while its slots move, and loses no invalidation', async () => {
    const [one, two] = [await open({ deaf: true }), await open({ deaf: true })];
    const ownOrgId = await addOrganization(database.sql);
    const [moved, other] = (await addBots(database.sql, ownOrgId, 2)) as [string, string];
    const state = { name: 'bot 1', totalMessages: 0 };
    const expectState = async ({ bot, botStats: stats, botDetails: details, botPage: list }: TestCache) => {
      const { name, totalMessages } = state;
      expect((await bot.readMany([other, moved])).map((each) => each?.name)).toEqual(['bot 2', name]);
      expect(await stats.readMany([moved])).toMatchObject([{ totalMessages }]);
      expect(await details.readMany([moved])).toMatchObject([{ bot: { name }, stats: { totalMessages } }]);
      const [page] = await list.readMany([{ orgId: ownOrgId, page: 1, limit: 100, search: '' }]);
      expect(page?.items.map((each) => each.name)).toContain(name);
    };
    /** Reads before each write, so that there is something to invalidate, and after it. */
    const change = async (step: string) => {
      await expectState(two);
      state.name = `bot, ${step}`;
      await database.sql`update bots set name = ${state.name} where id = ${moved}`;
      await one.invalidation.botChanged({ id: moved, orgId: ownOrgId });
      await expectState(two);
      state.totalMessages += 1;
      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
                         values (${moved}, 'c', 'c', 'OUTBOUND', 'PENDING')`;
      await one.botStatsChanged(moved);
      await expectState(two);
    };
    const isHit = async () => {
      const { misses } = two.tally;
      await expectState(two);
      return two.tally.misses === misses;
    };
    await change('in its place');
    await eventually(isHit);
    // A first probe may have come before the client was connected.
    const { errors } = one.tally;
    const moves = [await redis.moveSlotOf(`{${moved}}`), await redis.moveSlotOf(`{${ownOrgId}}`)];
    // Redis refuses commands on this key from now on; values on other keys are still hits.
    await redis.admin.del(`bot:{${moved}}:details`);
    await change('before any key has moved');
    for (let round = 1; round <= 6; round++) {
      for (const move of moves) await move.moveKeys(1);
      await change(`after move ${round}`);
    }
    for (const move of moves) await move.moveKeys();
    await change('with all keys moved');
    await eventually(async () => {
      const { hits } = two.tally;
      await two.bot.readMany([moved, other]);
      return two.tally.hits > hits;
    });
    for (const move of moves) await move.finish();
    await change('in its new place');
    await eventually(isHit);
    for (const { tally } of [one, two]) expect(tally).toMatchObject({ states: ['up'], timeouts: 0 });
    expect(one.tally.errors).toBe(errors);
  });

  test('runs a command once if its reply is lost with the connection', async () => {
    const client = connectRedis(redis.target);
    client.on('error', () => undefined);
    closers.push(() => client.disconnect());
    await eventually(() => client.status === 'ready');
    const key = `counter:{${randomUUID()}}`;
    const { proxy, admin } = await redis.nodeOf(key);
    expect(await client.incr(key)).toBe(1);
    proxy.holdReplies();
    const second = client.incr(key).then(String, () => 'lost');
    await eventually(async () => (await admin.get(key)) === '2');
    proxy.cut();
    // The call settles only after the client has stopped sending the command.
    expect(await second).toBe('lost');
    expect(await admin.get(key)).toBe('2');
  });

  /** Timeouts that requests have waited for. */
  const timeouts = async (app: TestApp): Promise<number> => {
    const count = async (operation: string) =>
      await app.metric('flovo_redis_failures_total', { reason: 'timeout', operation });
    return (await count('read')) + (await count('claim')) + (await count('invalidate'));
  };
  /** Reads one bot of each node. */
  const readAll = async (app: TestApp, ids: readonly string[]): Promise<void> => {
    const state = { version: 1, totalMessages: 0, failedMessages: 0 };
    await Promise.all(
      ids.map(async (id) => await expectViews(app.client(token), orgId, id, { name: id, ...state })),
    );
  };
  /** Adds one bot on each node; each bot's name is its id. */
  const addSpreadBots = async (): Promise<string[]> => {
    const spread = new Map<unknown, string>();
    while (spread.size < redis.nodes.length) {
      const id = randomUUID();
      spread.set(await redis.nodeOf(`bot:{${id}}`), id);
    }
    const ids = [...spread.values()];
    await database.sql`delete from bots where org_id = ${orgId}`;
    for (const id of ids)
      await database.sql`insert into bots (id, org_id, name, description) values (${id}, ${orgId}, ${id}, 'a bot')`;
    return ids;
  };

  test.each([
    ['is frozen', (i: number) => redis.nodes[i]?.redis.freeze()],
    ['has a network that stalls', (i: number) => redis.nodes[i]?.proxy.stall()],
    ['refuses connections', (i: number) => redis.nodes[i]?.proxy.refuse()],
  ])('fails no request while one node %s, and is used again afterwards', async (_, strike) => {
    const ids = await addSpreadBots();
    const [one, two] = [await start(), await start()];
    await readAll(one, ids);
    strike(1);
    await Promise.all([readAll(one, ids), readAll(two, ids)]);
    const paid = await timeouts(one);
    await exerciseApi([one.client(token), two.client(token)], orgId, database);
    await readAll(one, ids);
    // While a node hangs, no request after the first ones waits for it again.
    expect(await timeouts(one)).toBe(paid);
    expect(await one.metric('flovo_redis_state_changes_total', { to: 'down' })).toBe(1);
    for (const { proxy, redis: node } of redis.nodes) {
      node.thaw();
      await proxy.resume();
    }
    await eventually(async () => {
      const failures = await one.metric('flovo_redis_failures_total');
      const hits = await one.metric('flovo_cache_hits_total');
      await readAll(one, ids);
      return (
        (await one.metric('flovo_redis_failures_total')) === failures &&
        (await one.metric('flovo_cache_hits_total')) > hits
      );
    });
  });

  test('fails no request after one node has died', async () => {
    const ids = await addSpreadBots();
    const app = await start();
    await readAll(app, ids);
    const [victim] = redis.nodes;
    if (!victim) throw new Error('There are three');
    await victim.redis.kill();
    for (let round = 0; round < 2; round++) {
      await readAll(app, ids);
      await exerciseApi([app.client(token)], orgId, database);
    }
    expect(await app.app.readiness()).toMatchObject({ ready: true });
  });
});
