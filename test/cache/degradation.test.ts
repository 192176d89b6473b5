import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { BotsDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';
import { startTopology, type TopologyKind, type TopologyNode } from '../support/topology.js';
import { exerciseApi, expectViews, views } from './api.js';

const UNAVAILABLE = 'Redis unavailable: answering from PostgreSQL';
const AVAILABLE = 'Redis available again';

let database: TestDatabase;
let orgId: string;
let botId: string;
let token: string;

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(async () => {
  await database?.drop();
});

beforeEach(async () => {
  orgId = await addOrganization(database.sql);
  [botId] = (await addBots(database.sql, orgId, 3)) as [string];
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
});

const closers: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const start = async (settings: Record<string, string>): Promise<TestApp & { user: Client }> => {
  const app = await startApp({ DATABASE_URL: database.url, REDIS_TIMEOUT_MS: '300', ...settings });
  closers.push(app.close);
  return Object.assign(app, { user: app.client(token) });
};
const startRedis = async (options: Parameters<typeof createRedis>[0] = {}): Promise<RedisService> => {
  const redis = await createRedis(options);
  closers.push(async () => {
    redis.thaw();
    await redis.stop();
  });
  return redis;
};
const startAdmin = (redis: RedisService): Redis => {
  const admin = new Redis(redis.url, { retryStrategy: () => null });
  admin.on('error', () => undefined);
  closers.push(() => admin.disconnect());
  return admin;
};
const startProxy = async (url: string): Promise<TcpProxy> => {
  const proxy = await TcpProxy.before(url);
  closers.push(() => proxy.close());
  return proxy;
};
const lines = (app: TestApp, message: string) => app.logs.filter(({ msg }) => msg === message);
const isUp = async (app: TestApp) => (await app.metric('flovo_redis_up')) === 1;
/** The number of timeouts that requests have waited for; requests do not wait for fills and probes. */
const timeoutsPaid = async (app: TestApp) => {
  const operations = ['read', 'claim', 'invalidate'].map(
    async (operation) => await app.metric('flovo_redis_failures_total', { reason: 'timeout', operation }),
  );
  return (await Promise.all(operations)).reduce((sum, count) => sum + count, 0);
};
const hits = async (app: TestApp) => await app.metric('flovo_cache_hits_total');

/** A way to make Redis fail, and to repair it. */
interface Fault {
  strike(): Promise<void> | void;
  heal(): Promise<void> | void;
}
type MakeFault = (node: TopologyNode) => Fault;

/** Faults of any Redis; of a cluster, they affect all nodes at once. */
const FAULTS_OF_ALL: Record<string, MakeFault> = {
  'was killed, and is restarted empty': (node) => ({
    strike: async () => await node.redis.kill(),
    heal: async () => await node.restart(),
  }),
  'has a network that stalls': ({ proxy }) => ({
    strike: () => proxy.stall(),
    heal: async () => await proxy.resume(),
  }),
  'has a firewall that forgets connections': ({ proxy }) => ({
    strike: () => proxy.stall(),
    async heal() {
      proxy.abandon();
      await proxy.resume();
    },
  }),
};

/** Faults that a Redis Cluster does not allow, or that `cluster.test.ts` and `recovery.test.ts` cover. */
const FAULTS_OF_ONE: Record<string, MakeFault> = {
  'is frozen': ({ redis }) => ({ strike: () => redis.freeze(), heal: () => redis.thaw() }),
  'cannot be reached': ({ proxy }) => ({
    strike: () => proxy.refuse(),
    heal: async () => await proxy.resume(),
  }),
  'was made a replica, and a master again': ({ redis }) => {
    const admin = startAdmin(redis);
    return {
      strike: async () => void (await admin.replicaof('127.0.0.1', 1)),
      heal: async () => void (await admin.replicaof('NO', 'ONE')),
    };
  },
  'is a replica that has lost its master': ({ redis }) => {
    const admin = startAdmin(redis);
    return {
      async strike() {
        await admin.config('SET', 'replica-serve-stale-data', 'no');
        await admin.replicaof('127.0.0.1', 1);
      },
      heal: async () => void (await admin.replicaof('NO', 'ONE')),
    };
  },
  'is loading its data': ({ redis }) => {
    const [admin, other] = [startAdmin(redis), startAdmin(redis)];
    return {
      async strike() {
        await admin.eval(`for i = 1, 2000 do redis.call('SET', 'x' .. i, string.rep('x', 2000)) end`, 0);
        await admin.config('SET', 'loading-process-events-interval-bytes', '1024');
        await admin.config('SET', 'key-load-delay', '20000');
        // Redis reloads its data, and answers this command when it has finished.
        admin.call('DEBUG', 'RELOAD').catch(() => undefined);
        await eventually(async () => (await other.get('x').catch(String))?.includes('LOADING') === true);
      },
      heal: async () => void (await other.config('SET', 'key-load-delay', '0')),
    };
  },
};

const OUTAGES: (readonly [TopologyKind, string, MakeFault])[] = [
  ...Object.entries({ ...FAULTS_OF_ALL, ...FAULTS_OF_ONE }).map(
    ([name, makeFault]) => ['standalone', name, makeFault] as const,
  ),
  ...Object.entries(FAULTS_OF_ALL).map(([name, makeFault]) => ['cluster', name, makeFault] as const),
];

describe.each(OUTAGES)('while a %s Redis %s', (kind, _, makeFault) => {
  test('requests are answered from PostgreSQL; then the cache is used again by itself and serves nothing stale', async () => {
    const redis = await startTopology(kind, ['--enable-debug-command', 'yes']);
    closers.push(redis.stop);
    const apps = await Promise.all([start(redis.settings), start(redis.settings)]);
    const [{ user }, { user: other }] = apps;
    const faults = redis.nodes.map(makeFault);
    const before = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
    for (let i = 0; i < 2; i++) for (const app of apps) await expectViews(app.user, orgId, botId, before);
    for (const app of apps) {
      expect(await hits(app)).toBeGreaterThan(0);
      // On a busy machine the first connection may take a while.
      app.logs.length = 0;
    }

    for (const fault of faults) await fault.strike();
    // A demoted master still answers reads, so a process notices the change only at its next write.
    await eventually(async () => {
      for (const { user: reader } of apps) {
        // A text is stored when it is searched for again.
        const variables = { orgId, search: `${Math.random()}` };
        for (let time = 0; time < 2; time++) await reader.ask(BotsDocument, { ...variables, time });
      }
      return !(await Promise.all(apps.map(isUp))).some(Boolean);
    });
    await exerciseApi([user, other], orgId, database);
    for (const app of apps) {
      expect(await isUp(app)).toBe(false);
      expect(await app.metric('flovo_redis_state_changes_total', { to: 'down' })).toBe(1);
      expect(lines(app, UNAVAILABLE)).toHaveLength(1);
    }
    // Values cached before the outage must not hide new writes.
    await user.ask(UpdateBotDocument, { id: botId, input: { name: 'bot, during the outage' } });
    const after = { ...before, name: 'bot, during the outage', version: 2 };
    await expectViews(other, orgId, botId, after);

    for (const fault of faults) await fault.heal();
    const seen: unknown[] = [];
    await eventually(async () => {
      for (const client of [user, other]) {
        const { bot, list, organization } = await views(client, orgId, botId);
        seen.push(...[bot, list, organization].map((view) => (view as { name: string }).name));
      }
      return (await Promise.all(apps.map(isUp))).every(Boolean);
    });
    await expectViews(user, orgId, botId, after);
    await expectViews(other, orgId, botId, after);
    expect(new Set(seen)).toEqual(new Set(['bot, during the outage']));
    for (const app of apps) {
      const hitsSoFar = await hits(app);
      await eventually(async () => {
        await expectViews(app.user, orgId, botId, after);
        return (await hits(app)) > hitsSoFar;
      });
      expect(lines(app, UNAVAILABLE)).toHaveLength(1);
      expect(lines(app, AVAILABLE)).toHaveLength(1);
    }
  });
});

describe('without Redis', () => {
  test('requests are answered from PostgreSQL if the cache is switched off', async () => {
    const [one, two] = await Promise.all([start({ REDIS_URL: 'off' }), start({ REDIS_URL: 'off' })]);
    await exerciseApi([one.user, two.user], orgId, database);
    expect(await one.app.readiness()).toMatchObject({ ready: true, cache: 'off' });
    expect(lines(one, UNAVAILABLE)).toEqual([]);
  });

  test('requests are answered from PostgreSQL if it is down at the start, and it is used once it is up', async () => {
    const gone = await createRedis();
    await gone.stop();
    const [one, two] = await Promise.all([start({ REDIS_URL: gone.url }), start({ REDIS_URL: gone.url })]);
    await exerciseApi([one.user, two.user], orgId, database);
    expect(await isUp(one)).toBe(false);
    expect(await one.app.readiness()).toMatchObject({ ready: true, cache: 'down' });
    expect(lines(one, UNAVAILABLE)).toHaveLength(1);

    await startRedis({ port: gone.port });
    await eventually(async () => (await isUp(one)) && (await isUp(two)));
    await exerciseApi([one.user, two.user], orgId, database);
    expect(await hits(one)).toBeGreaterThan(0);
    expect(lines(one, AVAILABLE)).toHaveLength(1);
  });

  test('no request fails or shows an old state while it is killed and restarted repeatedly', async () => {
    let redis = await startRedis();
    const [one, two] = await Promise.all([start({ REDIS_URL: redis.url }), start({ REDIS_URL: redis.url })]);
    const traffic = { ended: false };
    const goOn = async () => {
      while (!traffic.ended) await exerciseApi([one.user, two.user], orgId, database);
    };
    const running = goOn();
    try {
      for (let i = 0; i < 3; i++) {
        await redis.kill();
        await eventually(async () => !(await isUp(one)) && !(await isUp(two)));
        redis = await startRedis({ port: redis.port });
        await eventually(async () => (await isUp(one)) && (await isUp(two)));
      }
    } finally {
      traffic.ended = true;
    }
    await running;
    expect(await one.metric('flovo_redis_state_changes_total', { to: 'down' })).toBe(3);
  });
});

describe('a Redis that holds invalid data', () => {
  test.each([
    ['a list', async (admin: Redis, key: string) => await admin.rpush(key, 'garbage')],
    ['a hash', async (admin: Redis, key: string) => await admin.hset(key, 'garbage', '1')],
    ['no JSON', async (admin: Redis, key: string) => await admin.set(key, 'garbage')],
    ['nothing', async (admin: Redis, key: string) => await admin.set(key, '')],
  ])('whose keys hold %s is not trusted, and works again after an invalidation', async (_, spoil) => {
    const redis = await startRedis();
    const admin = startAdmin(redis);
    const app = await start({ REDIS_URL: redis.url });
    const state = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
    const warm = async () =>
      await eventually(async () => {
        const misses = await app.metric('flovo_cache_misses_total');
        await expectViews(app.user, orgId, botId, state);
        return (await app.metric('flovo_cache_misses_total')) === misses;
      });
    await warm();
    const keys = (await admin.keys('*')).filter((key) => key !== 'probe');
    expect(keys.length).toBeGreaterThan(10);
    for (const key of [...keys, `bot:${botId}:lock`, `org:${orgId}:bots:lock`]) {
      await admin.del(key);
      await spoil(admin, key);
      await expectViews(app.user, orgId, botId, state);
      // The key is usable again after an invalidation at the latest.
      await app.user.ask(UpdateBotDocument, { id: botId, input: { name: `bot ${key}`.slice(0, 120) } });
      state.name = `bot ${key}`.slice(0, 120);
      state.version += 1;
      await expectViews(app.user, orgId, botId, state);
      await admin.del(key);
    }
    expect(await isUp(app)).toBe(true);
    await warm();
  });

  test('whose value is part of an envelope is not trusted', async () => {
    const redis = await startRedis();
    const admin = startAdmin(redis);
    const cache = await openCache({
      databaseUrl: database.url,
      redis: { kind: 'standalone', url: redis.url },
    });
    closers.push(cache.close);
    await cache.isUp();
    const key = `bot:${botId}`;
    await cache.nameOf(botId);
    const whole = await eventually(async () => (await admin.get(key)) ?? false);
    const generation = (await admin.get(`${key}:gen`)) as string;
    for (let length = 0; length < whole.length; length += 1) {
      await admin.set(key, whole.slice(0, length));
      expect(await cache.nameOf(botId)).toBe('bot 1');
      // A value without the generation is replaced by a fill.
      if (!whole.slice(0, length).includes(generation))
        await eventually(async () => (await admin.get(key))?.includes(generation) === true);
    }
    expect(cache.tally.states).toEqual(['up']);
  });
});

const PRICES: readonly [TopologyKind, { readonly atOnce: number }][] = [
  ['standalone', { atOnce: 1 }],
  // Reads of a cluster share no round trip, so several concurrent resolvers each wait for one timeout.
  ['cluster', { atOnce: 8 }],
];

describe.each(PRICES)('the price of an outage of a %s Redis', (kind, { atOnce }) => {
  const MANY_RESOLVERS = /* GraphQL */ `
    query ($orgId: ID!, $botId: ID!) {
      me {
        memberships {
          organization {
            name
          }
        }
      }
      bots(orgId: $orgId, limit: 5) {
        items {
          stats {
            totalMessages
          }
          organization {
            name
          }
        }
      }
      a: bot(id: $botId) {
        stats {
          totalMessages
        }
      }
      botDetails(id: $botId) {
        bot {
          stats {
            totalMessages
          }
        }
      }
      botStats(id: $botId) {
        totalMessages
      }
    }
  `;

  test.each(['for the first time', 'that was answered before'])(
    'is one timeout for a request with many resolvers, sent %s, and none for later requests',
    async (when) => {
      const redis = await startTopology(kind);
      closers.push(redis.stop);
      const app = await start(redis.settings);
      const variables = { orgId, botId };
      if (when !== 'for the first time') await app.user.sendText(MANY_RESOLVERS, variables);
      for (const { redis: node } of redis.nodes) node.freeze();
      const answer = await app.user.sendText(MANY_RESOLVERS, variables);
      expect(answer.errors).toBeUndefined();
      const paid = await timeoutsPaid(app);
      expect(paid).toBeGreaterThan(0);
      expect(paid).toBeLessThanOrEqual(atOnce);
      await Promise.all(
        Array.from({ length: 20 }, async () => await app.user.sendText(MANY_RESOLVERS, variables)),
      );
      expect(await timeoutsPaid(app)).toBe(paid);
      expect(await isUp(app)).toBe(false);
    },
  );

  test('is one timeout for a mutation, whose invalidation stays pending', async () => {
    const redis = await startTopology(kind);
    closers.push(redis.stop);
    const [one, two] = await Promise.all([start(redis.settings), start(redis.settings)]);
    const state = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
    await expectViews(one.user, orgId, botId, state);
    for (const { redis: node } of redis.nodes) node.freeze();
    await one.user.ask(UpdateBotDocument, { id: botId, input: { name: 'bot, changed' } });
    expect(await timeoutsPaid(one)).toBe(1);
    for (const { redis: node } of redis.nodes) node.thaw();
    await eventually(async () => (await isUp(one)) && (await isUp(two)));
    await expectViews(two.user, orgId, botId, { ...state, name: 'bot, changed', version: 2 });
  });
});

describe('a process that has lost Redis', () => {
  const open = async (url: string, options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
    const cache = await openCache({
      databaseUrl: database.url,
      redis: { kind: 'standalone', url },
      ...options,
    });
    closers.push(cache.close);
    await cache.isUp();
    return cache;
  };
  const rename = async (cache: TestCache, name: string): Promise<void> => {
    await database.sql`update bots set name = ${name} where id = ${botId}`;
    await cache.invalidation.botChanged({ id: botId, orgId });
  };

  test('sends its pending invalidations to Redis before it reads from Redis again', async () => {
    const redis = await startRedis();
    const [admin, proxy] = [startAdmin(redis), await startProxy(redis.url)];
    const [cut, well] = [await open(proxy.url, { deaf: true }), await open(redis.url, { deaf: true })];
    proxy.refuse();
    await eventually(() => cut.cache.state() === 'down');
    await well.nameOf(botId);
    await eventually(async () => (await admin.exists(`bot:${botId}`)) === 1);
    await rename(cut, 'new');
    await proxy.resume();
    await cut.isUp();
    expect(await admin.exists(`bot:${botId}`, `bot:${botId}:gen`)).toBe(0);
    expect(await cut.nameOf(botId)).toBe('new');
    expect(await well.nameOf(botId)).toBe('new');
  });

  test('keeps every invalidation that is made while it sends the pending ones', async () => {
    const redis = await startRedis();
    const [admin, proxy] = [startAdmin(redis), await startProxy(redis.url)];
    const [cut, well] = [await open(proxy.url, { deaf: true }), await open(redis.url, { deaf: true })];
    proxy.refuse();
    await eventually(() => cut.cache.state() === 'down');
    await rename(cut, 'first');
    const payment = proxy.hold((text) => /\r\nunlink\r\n/i.test(text));
    await proxy.resume();
    await payment.caught;
    // Redis receives the pending invalidation, but its reply is delayed while the test continues.
    const letReplies = proxy.holdReplies();
    await admin.set(`bot:${botId}:gen`, 'to be paid');
    payment.release();
    await eventually(async () => (await admin.exists(`bot:${botId}:gen`)) === 0);
    expect(await well.nameOf(botId)).toBe('first');
    await eventually(async () => (await admin.exists(`bot:${botId}`)) === 1);
    await rename(cut, 'second');
    letReplies();
    await cut.isUp();
    expect(await cut.nameOf(botId)).toBe('second');
    expect(await well.nameOf(botId)).toBe('second');
  });

  test('reads the invalidation log before it trusts values that were cached before the outage', async () => {
    const redis = await startRedis();
    const [proxy, logProxy] = [await startProxy(redis.url), await startProxy(database.url)];
    const [well, cut] = [await open(redis.url), await open(proxy.url, { logUrl: logProxy.url })];
    await cut.nameOf(botId);
    await eventually(async () => {
      const { hits: soFar } = cut.tally;
      await cut.nameOf(botId);
      return cut.tally.hits > soFar;
    });
    proxy.refuse();
    await eventually(() => cut.cache.state() === 'down');
    // Its read of the log is late, but not so old that cached values are refused.
    logProxy.delay(600);
    await database.sql`update bots set name = 'new' where id = ${botId}`;
    expect(await cut.nameOf(botId)).toBe('new');
    await proxy.resume();
    await cut.isUp();
    expect(await cut.nameOf(botId)).toBe('new');
    await logProxy.resume();
    expect(await well.nameOf(botId)).toBeDefined();
  });

  test.each(['off', 'away'])(
    'with Redis %s does not share an older load when the log cannot be read',
    async (state) => {
      const logProxy = await startProxy(database.url);
      const options = { logUrl: logProxy.url, databaseUrl: database.url };
      let cache: TestCache;
      if (state === 'off') {
        cache = await openCache({ ...options, redis: undefined });
        closers.push(cache.close);
      } else {
        const redis = await startRedis();
        cache = await open(redis.url, options);
        await redis.kill();
        await eventually(() => cache.cache.state() === 'down');
      }
      const gate = cache.hold('bot', 'after');
      const early = cache.nameOf(botId);
      await gate.reached;
      logProxy.refuse();
      await database.sql`update bots set name = 'new' where id = ${botId}`;
      const late = cache.nameOf(botId);
      gate.open();
      expect(await early).toBe('bot 1');
      expect(await late).toBe('new');
    },
  );

  test('does not open the circuit because this process was too busy to read the replies', async () => {
    const redis = await startRedis();
    const cache = await open(redis.url, { timeoutMs: 100 });
    const ids = await addBots(database.sql, orgId, 50);
    const block = (ms: number) => {
      for (const end = performance.now() + ms; performance.now() < end;);
    };
    for (const turns of [0, 1, 2, 3]) {
      const reading = ids.map(async (id) => await cache.nameOf(id));
      for (let turn = 0; turn < turns; turn++) await nextTurn();
      block(500);
      expect(await Promise.all(reading)).toEqual(ids.map((_, i) => `bot ${i + 1}`));
    }
    expect(cache.tally).toMatchObject({ timeouts: 0, states: ['up'] });
    expect(cache.tally.hits).toBeGreaterThan(0);
  });
});
