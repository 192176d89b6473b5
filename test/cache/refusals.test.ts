import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { BotDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { exerciseApi, expectViews } from './api.js';

const REFUSED = 'Redis refuses what the cache needs: answering from PostgreSQL';
const AVAILABLE = 'Redis available again';

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

const startRedis = async (settings: readonly string[] = []): Promise<RedisService & { admin: Redis }> => {
  const redis = await createRedis({ settings });
  const admin = new Redis(redis.url);
  admin.on('error', () => undefined);
  closers.push(redis.stop, () => admin.disconnect());
  return { ...redis, admin };
};
const start = async (url: string): Promise<TestApp> => {
  const app = await startApp({
    DATABASE_URL: database.url,
    REDIS_URL: url,
    REDIS_TIMEOUT_MS: '1000',
    CACHE_PREFIX: 'flovo:',
  });
  closers.push(app.close);
  return app;
};
const lines = (app: TestApp, message: string) => app.logs.filter(({ msg }) => msg === message);
const bytesReceived = async (admin: Redis): Promise<number> =>
  Number(/total_net_input_bytes:(\d+)/.exec(await admin.info('stats'))?.[1]);

/** A refusal by Redis, and how the log describes it. */
interface Refusal {
  refuse(admin: Redis): Promise<unknown>;
  allow(admin: Redis): Promise<unknown>;
  readonly command: RegExp;
  readonly key: RegExp;
}

const rights =
  (...rules: string[]) =>
  async (admin: Redis) =>
    await admin.call('ACL', ['SETUSER', 'cache', 'reset', 'on', '>secret', ...rules]);
const allowAll = rights('~flovo:*', '+@all');

const REFUSALS: Record<string, Refusal> = {
  'has no right to EVAL': {
    refuse: rights('~flovo:*', '+@all', '-eval'),
    allow: allowAll,
    command: /^EVAL$/,
    key: /^flovo:/,
  },
  'has no right to UNLINK': {
    refuse: rights('~flovo:*', '+@all', '-unlink'),
    allow: allowAll,
    command: /^UNLINK$/,
    key: /^flovo:/,
  },
  'has no right to SET': {
    refuse: rights('~flovo:*', '+@all', '-set'),
    allow: allowAll,
    command: /^SET$/,
    key: /^flovo:/,
  },
  'has no right to the indexes of pages': {
    refuse: rights(
      '~flovo:bot*',
      '~flovo:user:*',
      '~flovo:org:*:bots',
      '~flovo:org:*:gen',
      '~flovo:everything:*:gen',
      '~flovo:*:lock',
      '+@all',
    ),
    allow: allowAll,
    command: /^EVAL$/,
    key: /^flovo:org:\{(id|orgId)\}/,
  },
  'has a Redis that is full': {
    refuse: async (admin) => await admin.config('SET', 'maxmemory', '1'),
    allow: async (admin) => await admin.config('SET', 'maxmemory', '0'),
    command: /^SET$|^ZADD$|^EVAL$/,
    key: /^flovo:/,
  },
  'has a Redis that is a replica': {
    refuse: async (admin) => await admin.replicaof('127.0.0.1', 1),
    allow: async (admin) => await admin.replicaof('NO', 'ONE'),
    command: /^SET$/,
    key: /^flovo:/,
  },
};

describe.each(Object.entries(REFUSALS))('a server that %s', (_, { refuse, allow, command, key }) => {
  test.each(['from the start', 'later'])(
    '%s: logs it once, works without Redis, and uses Redis again later',
    async (when) => {
      const redis = await startRedis(['--maxmemory-policy', 'noeviction']);
      await allowAll(redis.admin);
      if (when === 'from the start') await refuse(redis.admin);
      const app = await start(`redis://cache:secret@127.0.0.1:${redis.port}`);
      const user = app.client(token);
      const state = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
      if (when === 'later') {
        await eventually(async () => (await app.metric('flovo_redis_up')) === 1);
        await expectViews(user, orgId, botId, state);
        // On a busy machine the first connection may take a while.
        app.logs.length = 0;
        await refuse(redis.admin);
      }
      await eventually(async () => {
        await exerciseApi([user], orgId, database);
        return (await app.app.readiness()).cache === 'degraded';
      });
      await expectViews(user, orgId, botId, state);
      const { ready, reason } = await app.app.readiness();
      expect(ready).toBe(true);
      expect(reason).toMatch(/^Redis refuses [A-Z]+ on flovo:/);
      expect(reason).not.toMatch(/cache|127\.0\.0\.1/);
      const [line, ...more] = lines(app, REFUSED);
      expect(more).toEqual([]);
      expect(line?.['key']).toMatch(when === 'later' ? /^flovo:/ : key);
      if (when === 'from the start') expect(line?.['command']).toMatch(command);
      expect(await app.metric('flovo_redis_up')).toBe(0);
      expect(await app.metric('flovo_redis_failures_total', { reason: 'refused' })).toBeGreaterThan(0);
      expect(await app.metric('flovo_redis_state_changes_total', { to: 'degraded' })).toBe(1);

      // Queries send nothing to Redis, and mutations little.
      const reads = await app.metric('flovo_redis_round_trips_total', { operation: 'read' });
      const before = await bytesReceived(redis.admin);
      for (let i = 0; i < 40; i++) {
        await user.ask(BotDocument, { id: botId });
        await user.ask(UpdateBotDocument, { id: botId, input: { name: `bot, ${i}` } });
      }
      expect(await app.metric('flovo_redis_round_trips_total', { operation: 'read' })).toBe(reads);
      // A probe is some kilobytes.
      expect((await bytesReceived(redis.admin)) - before).toBeLessThan(40 * 1_000 + 300_000);
      await expectViews(user, orgId, botId, { ...state, name: 'bot, 39', version: 41 });
      expect(lines(app, REFUSED)).toHaveLength(1);

      await allow(redis.admin);
      await eventually(async () => (await app.app.readiness()).cache === 'up');
      expect(lines(app, AVAILABLE)).toHaveLength(1);
      expect((await app.app.readiness()).reason).toBeUndefined();
      await expectViews(user, orgId, botId, { ...state, name: 'bot, 39', version: 41 });
      const hits = await app.metric('flovo_cache_hits_total');
      await eventually(async () => {
        await expectViews(user, orgId, botId, { ...state, name: 'bot, 39', version: 41 });
        return (await app.metric('flovo_cache_hits_total')) > hits;
      });
    },
    60_000,
  );
});

test('a Redis that lacks a required command is not used', async () => {
  const redis = await startRedis(['--rename-command', 'ZADD', 'ZADD_BY_ANOTHER_NAME']);
  const app = await start(redis.url);
  await exerciseApi([app.client(token)], orgId, database);
  expect(await app.app.readiness()).toMatchObject({
    ready: true,
    cache: 'degraded',
    reason: expect.stringContaining('ZADD on flovo:org:{id}:index'),
  });
});

test('a server that may not invalidate leaves no stale value for a server that may', async () => {
  const redis = await startRedis();
  await allowAll(redis.admin);
  await redis.admin.call('ACL', ['SETUSER', 'other', 'on', '>secret', '~flovo:*', '+@all']);
  const [limited, well] = await Promise.all(
    ['cache', 'other'].map(async (user) => await start(`redis://${user}:secret@127.0.0.1:${redis.port}`)),
  );
  if (!limited || !well) throw new Error('There are two');
  const reader = well.client(token);
  const state = { name: 'bot 1', version: 1, totalMessages: 0, failedMessages: 0 };
  await eventually(async () => {
    await expectViews(reader, orgId, botId, state);
    return (await well.metric('flovo_cache_hits_total')) > 10;
  });
  await rights('~flovo:*', '+@all', '-unlink')(redis.admin);
  await limited.client(token).ask(UpdateBotDocument, { id: botId, input: { name: 'bot, new' } });
  // The other server reads of the write in the log, a tenth of a second later at most.
  await eventually(
    async () =>
      await expectViews(reader, orgId, botId, { ...state, name: 'bot, new', version: 2 }).then(() => true),
    2_000,
  );
  // Pending invalidations are flushed once Redis allows it.
  await allowAll(redis.admin);
  await eventually(async () => (await limited.app.readiness()).cache === 'up');
  expect(await limited.metric('flovo_redis_failures_total', { reason: 'refused' })).toBeGreaterThan(0);
  await expectViews(limited.client(token), orgId, botId, { ...state, name: 'bot, new', version: 2 });
});

test('an invalidation that Redis refuses is not sent again with every write', async () => {
  const redis = await startRedis();
  await allowAll(redis.admin);
  const app = await start(`redis://cache:secret@127.0.0.1:${redis.port}`);
  await eventually(async () => (await app.metric('flovo_redis_up')) === 1);
  await rights('~flovo:*', '+@all', '-unlink')(redis.admin);
  const ids = await addBots(database.sql, orgId, 200);
  const before = await bytesReceived(redis.admin);
  for (const id of ids) await app.client(token).ask(UpdateBotDocument, { id, input: { name: 'changed' } });
  const received = (await bytesReceived(redis.admin)) - before;
  // One invalidation is about 1 kB; sending all pending ones with each write would be megabytes.
  expect(received).toBeLessThan(ids.length * 1_000 + 300_000);
}, 60_000);
