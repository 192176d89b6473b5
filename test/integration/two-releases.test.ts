import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { sql as drizzleSql } from 'drizzle-orm';
import { Redis } from 'ioredis';
import { pino } from 'pino';

import { createCache, type Cache } from '../../src/cache/create-cache.js';
import { isOfShape } from '../../src/cache/core/shape.js';
import type { CachedResource, Resource } from '../../src/cache/core/resource.js';
import type { ShapeOf } from '../../src/cache/core/shape.js';
import { connectDatabase } from '../../src/db/client.js';
import { momentSince } from '../../src/db/cache-moment.js';
import { cacheConnection } from '../../src/db/cache-connection.js';
import { botStatsTag, botTag } from '../../src/invalidation/tags.js';
import {
  BotDetailsDocument,
  BotDocument,
  BotStatsDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { Tally } from '../support/test-cache.js';
import { startApp } from '../support/app.js';

/** A long run takes a minute. */
const RUN_MS = Number(process.env.FLOVO_UPGRADE_SECONDS ?? 4) * 1_000;
const BOTS = 20;
/** Reads are a hundred times as frequent as writes, as in production. */
const READS_A_WRITE = 100;
/** A slow machine takes longer for enough of them. */
const MIN_READS = 4_000;
const MAX_RUN_MS = RUN_MS + 60_000;
const MIN_HIT_RATE = 0.8;

let database: TestDatabase;
let redis: RedisService;
let admin: Redis;
let orgId: string;
let ids: string[];
const closers: (() => Promise<void>)[] = [];

beforeEach(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  admin = new Redis(redis.url);
  orgId = await addOrganization(database.sql);
  ids = await addBots(database.sql, orgId, BOTS);
});

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  admin.disconnect();
  await redis?.stop();
  await database?.drop();
});

/** The fields of a bot that one release caches, under the keys that all releases share. */
interface Release {
  readonly bot: CachedResource<string, Record<string, unknown>>;
  readonly stats: CachedResource<string, Record<string, unknown>>;
  readonly tally: Tally;
  readonly cache: Cache;
  readonly loadStats: Resource<string, Record<string, unknown>>['load'];
}

/** The cache of another release: its bots and statistics have the fields that the SQL selects. */
async function startRelease(
  fields: Readonly<Record<string, { type: 'string' | 'number'; sql: string }>>,
): Promise<Release> {
  const { db, close } = connectDatabase({ url: database.url, poolMax: 5 });
  const tally = new Tally();
  const cache = createCache({
    redis: { kind: 'standalone', url: redis.url },
    redisTimeoutMs: 3_000,
    prefix: '',
    responseCacheBytes: 0,
    postgres: cacheConnection(database.url),
    observer: tally,
    log: pino({ level: 'silent' }),
  });
  const shape = Object.fromEntries(Object.entries(fields).map(([name, { type }]) => [name, type]));
  const row = Object.entries(fields).map(([name, { sql }]) => `'${name}', ${sql}`);
  const load =
    (table: string, id: string, version: string): Resource<string, Record<string, unknown>>['load'] =>
    async (wanted, since) => {
      const rows = await db.execute<{
        snapshot: string;
        value: Record<string, unknown> | null;
        version: string;
      }>(
        drizzleSql`select ${momentSince(since)} as snapshot, ${drizzleSql.raw(version)} as version,
            case when t.${drizzleSql.raw(id)} is not null then json_build_object(${drizzleSql.raw(row.join(','))}) end as value
          from unnest(string_to_array(${wanted.join(',')}, ',')::uuid[]) with ordinality as wanted(id, position)
          left join ${drizzleSql.raw(table)} as t on t.${drizzleSql.raw(id)} = wanted.id order by position`,
      );
      return rows.map(({ snapshot, value, version }) => ({ snapshot, value, version: Number(version) + 1 }));
    };
  const resource = (
    name: string,
    template: 'bot:{id}' | 'bot:{id}:stats',
    tag: typeof botTag,
    loading: ReturnType<typeof load>,
  ) =>
    cache.resource<string, Record<string, unknown>>({
      name,
      key: template,
      params: (id) => ({ id }),
      tags: [tag],
      shape: shape as ShapeOf<Record<string, unknown>>,
      ttlSeconds: 60,
      load: loading,
    });
  const loadStats = load('bot_stats', 'bot_id', 'coalesce(t.revision, 0)');
  const bot = resource('bot', 'bot:{id}', botTag, load('bots', 'id', '0'));
  const stats = resource('stats', 'bot:{id}:stats', botStatsTag, loadStats);
  await cache.start(5_000);
  await eventually(() => cache.state() === 'up');
  closers.push(async () => {
    await cache.close();
    await close();
  });
  return { bot, stats, tally, cache, loadStats };
}

const rowAs = (name: string) => ({ type: 'string' as const, sql: `coalesce(to_json(t)->>'${name}', '')` });
const numberAs = (name: string) => ({
  type: 'number' as const,
  sql: `coalesce((to_json(t)->>'${name}')::numeric, 0)`,
});

describe('two releases on one Redis and one PostgreSQL', () => {
  test(
    'that differ in fields answer right and keep their hit rates',
    async () => {
      const old = await startRelease({
        version: numberAs('version'),
        inbound: numberAs('inbound'),
        status: rowAs('status'),
      });
      const recent = await startRelease({
        revision: numberAs('version'),
        inbound: numberAs('inbound'),
        channel: { type: 'string', sql: `'web'` },
      });
      /** The version that was answered before a read; the read must show it or a later one. */
      const answered = new Map(ids.map((id) => [id, { version: 1, inbound: 0 }]));
      const findings = { reads: 0, wrong: 0, writes: 0 };
      const check = (
        value: Record<string, unknown> | null | undefined,
        field: string,
        least: number,
        fields: string[],
      ) => {
        findings.reads++;
        const isRight =
          value != null &&
          Object.keys(value).sort().join() === fields.join() &&
          Number(value[field]) >= least;
        if (!isRight) findings.wrong++;
      };
      const pick = () => ids[Math.floor(Math.random() * ids.length)] as string;
      // Warm up: connections are open, and each release has read the other's values.
      for (let round = 0; round < 3; round++) {
        for (const { bot, stats } of [old, recent])
          await Promise.all([bot.readMany(ids), stats.readMany(ids)]);
      }
      for (const { tally } of [old, recent]) Object.assign(tally, { hits: 0, misses: 0 });
      const startedAt = performance.now();
      const isOver = () => {
        const ranMs = performance.now() - startedAt;
        return (ranMs > RUN_MS && findings.reads >= MIN_READS) || ranMs > MAX_RUN_MS;
      };
      const reader = async () => {
        while (!isOver()) {
          const id = pick();
          const { version, inbound } = answered.get(id) as { version: number; inbound: number };
          const [[a], [b], [c], [d]] = await Promise.all([
            old.bot.readMany([id]),
            recent.bot.readMany([id]),
            old.stats.readMany([id]),
            recent.stats.readMany([id]),
          ]);
          check(a, 'version', version, ['inbound', 'status', 'version']);
          check(b, 'revision', version, ['channel', 'inbound', 'revision']);
          check(c, 'inbound', inbound, ['inbound', 'status', 'version']);
          check(d, 'inbound', inbound, ['channel', 'inbound', 'revision']);
        }
      };
      const writer = async (release: Release) => {
        while (!isOver()) {
          if (findings.writes * READS_A_WRITE > findings.reads) {
            await pause(1);
            continue;
          }
          findings.writes++;
          const id = pick();
          const before = answered.get(id) as { version: number; inbound: number };
          if (Math.random() < 0.5) {
            const [row] = await database.sql<[{ version: number }]>`
            update bots set description = ${randomUUID()} where id = ${id} returning version`;
            await release.cache.invalidator.invalidate([botTag.of(id)]);
            before.version = Math.max(before.version, row.version);
          } else {
            const [row] = await database.sql<[{ inbound: string }]>`
            update bot_stats set inbound = inbound + 1, revision = revision + 1 where bot_id = ${id} returning inbound`;
            const [newer] = await release.loadStats([id], release.cache.helping.since);
            await release.stats.replace(id, newer ?? { value: null, snapshot: '' });
            before.inbound = Math.max(before.inbound, Number(row.inbound));
          }
        }
      };
      await Promise.all([reader(), reader(), reader(), writer(old), writer(recent)]);
      const rateOf = ({ tally }: Release) => tally.hits / (tally.hits + tally.misses);
      const rates = { old: rateOf(old), recent: rateOf(recent) };
      console.info({ ...findings, ...rates });
      expect(findings.wrong).toBe(0);
      expect(findings.writes).toBeGreaterThan(5);
      expect(rates.old).toBeGreaterThan(MIN_HIT_RATE);
      expect(rates.recent).toBeGreaterThan(MIN_HIT_RATE);
    },
    MAX_RUN_MS + 60_000,
  );
});

describe('one release', () => {
  test('uses the keys of the contract, even if they hold invalid values', async () => {
    const app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, RESPONSE_CACHE: 'off' });
    closers.push(app.close);
    const client = app.client((await addUser(database.sql, { [orgId]: 'OWNER' })).token);
    const [id = ''] = ids;
    const keys = [`bot:${id}`, `bot:${id}:stats`, `bot:${id}:details`];
    const readAll = async () => {
      const seen = await Promise.all([
        client.ask(BotDocument, { id }),
        client.ask(BotStatsDocument, { id }),
        client.ask(BotDetailsDocument, { id }),
      ]);
      expect(seen).toMatchObject([
        { bot: { id } },
        { botStats: { totalMessages: 0 } },
        { botDetails: { bot: { id } } },
      ]);
      await eventually(async () => (await admin.mget(keys)).every((value) => value !== null));
    };
    await readAll();
    const good = (await admin.mget(keys)) as string[];
    const spoilers: [string, (key: string, value: string) => Promise<unknown>][] = [
      ['cut off', async (key, value) => await admin.set(key, value.slice(0, -1))],
      ['cut in the middle', async (key, value) => await admin.set(key, value.slice(0, value.length / 2))],
      ['no envelope', async (key) => await admin.set(key, 'rubbish')],
      ['bytes that are no text', async (key) => await admin.set(key, Buffer.from([0xff, 0x00, 0xfe]))],
      [
        'another type',
        async (key) => {
          await admin.del(key);
          await admin.lpush(key, 'a');
        },
      ],
      [
        'data of another shape',
        async (key, value) => await admin.set(key, value.replace(/"data":.*$/, '"data":{"id":7}}')),
      ],
      [
        'a list as data',
        async (key, value) => await admin.set(key, value.replace(/"data":.*$/, '"data":[1]}')),
      ],
      [
        'a number as data',
        async (key, value) => await admin.set(key, value.replace(/"data":.*$/, '"data":7}')),
      ],
      [
        'no end of life',
        async (key, value) => await admin.set(key, value.replace(/"expires":\d+/, '"expires":soon')),
      ],
    ];
    for (const [, spoil] of spoilers) {
      for (const [i, key] of keys.entries()) await spoil(key, good[i] as string);
      await readAll();
      for (const value of await admin.mget(keys)) expect(value).toMatch(/^\{"gen":.*"data":\{.*\}\}$/);
    }
    expect(await admin.keys('*:shape:*')).toEqual([]);
  });

  test('stores its values beside those of a release that names no shapes', async () => {
    const app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, RESPONSE_CACHE: 'off' });
    closers.push(app.close);
    const client = app.client((await addUser(database.sql, { [orgId]: 'OWNER' })).token);
    const [first = '', second = ''] = ids;
    const older: string[] = [];
    for (const id of [first, second]) {
      await client.ask(BotDocument, { id });
      const value = await eventually(async () => (await admin.get(`bot:${id}`)) ?? false);
      older.push(value.replace(/"shape":"\w+",/, '').replace(/"data":.*$/, '"data":{"id":"only"}}'));
      await admin.set(`bot:${id}`, older.at(-1) as string);
    }
    // After it finds the first such value, the server stores all its values beside.
    expect((await client.ask(BotDocument, { id: first })).bot?.name).toBe('bot 1');
    expect((await client.ask(BotDocument, { id: second })).bot?.name).toBe('bot 2');
    await eventually(async () => (await admin.exists(await keyBeside(second))) === 1);
    expect(await admin.get(`bot:${second}`)).toBe(older[1]);
    // An invalidation finds the values that were stored beside.
    await client.ask(UpdateBotDocument, { id: second, input: { name: 'renamed' } });
    expect(await admin.exists(await keyBeside(second))).toBe(0);
    expect((await client.ask(BotDocument, { id: second })).bot?.name).toBe('renamed');
  });

  const keyBeside = async (id: string) => (await admin.keys(`bot:${id}:shape:*`))[0] ?? 'none';
});

test('a value matches a shape if it has its fields with their types', () => {
  const shape = { id: 'string', at: 'string?', list: [{ n: 'number' }] } as const;
  expect(isOfShape({ id: 'a', at: null, list: [{ n: 1 }], more: true }, shape)).toBe(true);
  for (const value of [
    null,
    [],
    'a',
    { id: 1, at: null, list: [] },
    { id: 'a', list: [] },
    { id: 'a', at: 1, list: [] },
    { id: 'a', at: null, list: [{ n: '1' }] },
    { id: 'a', at: null, list: {} },
  ]) {
    expect([value, isOfShape(value, shape)]).toEqual([value, false]);
  }
});
