import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import {
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotsWithStatsDocument,
  BotStatsDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** What the contract promises of the cost of a request: Redis round trips warm, SQL statements cold. */
describe('round trips and statements of a request', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let app: TestApp;
  let client: Client;
  let orgId: string;
  let botIds: string[];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    orgId = await addOrganization(database.sql);
    botIds = await addBots(database.sql, orgId, 60);
    const { token } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
    client = app.client(token);
  });

  afterAll(async () => {
    await app?.close();
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await admin.flushall();
  });

  /** Waits until what was loaded is stored, which no reader waits for: a fill frees its locks. */
  const stored = async (): Promise<void> => {
    await eventually(async () => (await admin.keys('*:lock')).length === 0);
  };

  const redisCalls = async (): Promise<Record<string, number>> => {
    const stats = await admin.info('commandstats');
    const calls = [...stats.matchAll(/cmdstat_(\w+):calls=(\d+)/g)].map(([, name, count]) => [
      name,
      Number(count),
    ]);
    return Object.fromEntries(calls) as Record<string, number>;
  };

  test('50 bots with their statistics are 1 Redis read, when the same answer was given before', async () => {
    const ask = async () => await client.ask(BotsWithStatsDocument, { orgId, limit: 50 });
    const first = await ask();
    await stored();
    await admin.config('RESETSTAT');
    app.statements.length = 0;
    expect(await ask()).toEqual(first);
    expect(app.statements).toEqual([]);
    expect(await redisCalls()).toMatchObject({ mget: 1 });
  });

  test('50 bots with their statistics are 1 Redis read for caller and page and 1 for all statistics, when their values are cached', async () => {
    const ask = async () => await client.ask(BotsWithStatsDocument, { orgId, limit: 50 });
    await ask();
    await stored();
    await admin.config('RESETSTAT');
    app.statements.length = 0;
    // The same values asked for in other words, so that no whole answer serves.
    const { data } = await client.sendText<{ bots: { items: { stats: { totalMessages: number } }[] } }>(
      `{ bots(orgId: "${orgId}", limit: 50) { items { name stats { totalMessages } } } }`,
    );
    expect(data?.bots.items.map(({ stats }) => stats.totalMessages)).toEqual(
      Array.from({ length: 50 }, () => 0),
    );
    expect(app.statements).toEqual([]);
    expect(await redisCalls()).toMatchObject({ mget: 2 });
    expect(Object.keys(await redisCalls()).filter((name) => ['set', 'eval', 'get'].includes(name))).toEqual(
      [],
    );
  });

  test('50 bots with their statistics are 2 SQL statements when nothing but the caller is cached', async () => {
    await client.ask(BotDocument, { id: botIds[0] as string });
    await stored();
    app.statements.length = 0;
    await client.ask(BotsWithStatsDocument, { orgId, limit: 50 });
    expect(app.statements).toHaveLength(2);
  });

  test.each([
    ['bots', async () => await client.ask(BotsDocument, { orgId })],
    ['botStats', async () => await client.ask(BotStatsDocument, { id: botIds[1] as string })],
    ['botDetails', async () => await client.ask(BotDetailsDocument, { id: botIds[2] as string })],
  ])('%s sends no SQL when cached', async (_name, ask) => {
    await ask();
    await stored();
    app.statements.length = 0;
    await ask();
    expect(app.statements).toEqual([]);
  });
});
