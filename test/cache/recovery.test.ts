import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type postgres from 'postgres';

import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { TEST_CONNECTION } from '../support/redis-cluster.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { startTopology, type Topology, type TopologyKind, type TopologyNode } from '../support/topology.js';
import { exerciseApi, expectViews } from './api.js';

const POOL = 3;
/**
 * The time to recover (ms). The pauses between attempts to reconnect add up to about 2 s; the rest is for a busy machine.
 */
const BACK_MS = 10_000;
const KINDS: readonly TopologyKind[] = ['standalone', 'cluster'];

let database: TestDatabase;
let orgId: string;
let botId: string;
let token: string;
const closers: (() => unknown)[] = [];

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

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const startRedis = async (kind: TopologyKind): Promise<Topology> => {
  const topology = await startTopology(kind);
  closers.push(topology.stop);
  return topology;
};
const start = async (settings: Record<string, string>): Promise<TestApp & { user: Client }> => {
  const app = await startApp({
    DATABASE_URL: database.url,
    DATABASE_POOL_MAX: String(POOL),
    REDIS_TIMEOUT_MS: '300',
    ...settings,
  });
  closers.push(app.close);
  return Object.assign(app, { user: app.client(token) });
};
const isUp = async (app: TestApp) => (await app.metric('flovo_redis_up')) === 1;

/** The number of connections to Redis, without the test's own. */
const redisConnections = async ({ nodes }: Topology): Promise<number> => {
  const lists = await Promise.all(nodes.map(async ({ admin }) => String(await admin.client('LIST'))));
  return lists
    .flatMap((list) => list.trim().split('\n'))
    .filter((line) => !line.includes(` name=${TEST_CONNECTION} `)).length;
};
/** The number of the servers' connections to the database, by purpose. */
const databaseConnections = async (sql: postgres.Sql): Promise<Record<string, number>> => {
  const rows = await sql<{ name: string; count: number }[]>`
    select application_name as name, count(*)::int as count from pg_stat_activity
    where datname = current_database() and application_name like 'flovo%' group by 1`;
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
};
const ALL_DATABASE_CONNECTIONS = { 'flovo-bots': POOL, 'flovo-bots invalidation log': 1 };

/** Makes every kind of read. Returns whether all values were hits. */
const isAllHit = async (app: TestApp & { user: Client }): Promise<boolean> => {
  const misses = await app.metric('flovo_cache_misses_total');
  const hits = await app.metric('flovo_cache_hits_total');
  const state = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
  await expectViews(app.user, orgId, botId, state);
  return (
    (await app.metric('flovo_cache_misses_total')) === misses &&
    (await app.metric('flovo_cache_hits_total')) > hits
  );
};

const OUTAGES = {
  killed: {
    strike: async ({ redis }: TopologyNode) => await redis.kill(),
    heal: async ({ restart }: TopologyNode) => await restart(),
  },
  frozen: {
    strike: ({ redis }: TopologyNode) => redis.freeze(),
    heal: ({ redis }: TopologyNode) => redis.thaw(),
  },
} as const;

describe.each(KINDS)('after a %s Redis', (kind) => {
  test.each(['killed', 'frozen'] as const)(
    'was %s and has recovered, reads are hits again, and there are as many connections as before',
    async (how) => {
      const redis = await startRedis(kind);
      const app = await start(redis.settings);
      await eventually(async () => await isUp(app));
      await exerciseApi([app.user], orgId, database);
      await eventually(async () => await isAllHit(app));
      const before = await redisConnections(redis);
      expect(before).toBeGreaterThanOrEqual(redis.nodes.length);
      expect(await databaseConnections(database.sql)).toEqual(ALL_DATABASE_CONNECTIONS);

      const { strike, heal } = OUTAGES[how];
      for (const node of redis.nodes) await strike(node);
      await eventually(async () => {
        await isAllHit(app);
        return !(await isUp(app));
      });
      await exerciseApi([app.user], orgId, database);
      for (const node of redis.nodes) await heal(node);
      await eventually(async () => await isAllHit(app), BACK_MS);
      await exerciseApi([app.user], orgId, database);
      await eventually(async () => (await redisConnections(redis)) === before);
      expect(await databaseConnections(database.sql)).toEqual(ALL_DATABASE_CONNECTIONS);
      expect(await isUp(app)).toBe(true);
    },
    60_000,
  );
});

test.each([
  ['refused connections', (proxy: TcpProxy) => proxy.refuse()],
  ['was silent', (proxy: TcpProxy) => proxy.stall()],
])(
  'after PostgreSQL %s and has recovered, reads are hits again, and there are as many connections as before',
  async (_, strike) => {
    const redis = await startRedis('standalone');
    const proxy = await TcpProxy.before(database.url);
    closers.push(() => proxy.close());
    const app = await start({ ...redis.settings, DATABASE_URL: proxy.url });
    await eventually(async () => await isUp(app));
    await exerciseApi([app.user], orgId, database);
    await eventually(async () => await isAllHit(app));
    const before = await redisConnections(redis);
    expect(await databaseConnections(database.sql)).toEqual(ALL_DATABASE_CONNECTIONS);

    strike(proxy);
    // A hit needs a recent read of the log: after 2 s without one, no cached value is trusted.
    const requests: Promise<unknown>[] = [];
    await eventually(async () => {
      const request = app.user.sendText(`{ bot(id: "${botId}") { name } }`, {}).catch(() => undefined);
      requests.push(request);
      // A request that needs PostgreSQL may wait for it.
      await Promise.race([request, pause(200)]);
      return (await app.metric('flovo_cache_misses_total', { reason: 'distrusted' })) > 0;
    });
    await proxy.resume();
    await Promise.all(requests);
    await eventually(async () => await isAllHit(app), BACK_MS);
    await exerciseApi([app.user], orgId, database);
    await eventually(async () => {
      expect(await databaseConnections(database.sql)).toEqual(ALL_DATABASE_CONNECTIONS);
    });
    expect(await redisConnections(redis)).toBe(before);
  },
  60_000,
);
