import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { BotDetailsDocument, BotStatsDocument, RecordMessagesDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** A busy bot's statistics stay cached: each message replaces the cached totals with newer ones. */
describe('replacing statistics', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let writer: TestApp;
  let reader: TestApp;
  let write: Client;
  let read: Client;
  let id: string;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    const settings = { DATABASE_URL: database.url, REDIS_URL: redis.url };
    [writer, reader] = await Promise.all([startApp(settings), startApp(settings)]);
  });

  afterAll(async () => {
    await Promise.all([writer?.close(), reader?.close()]);
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await admin.flushall();
    const orgId = await addOrganization(database.sql);
    [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const { token } = await addUser(database.sql, { [orgId]: 'EDITOR' });
    [write, read] = [writer.client(token), reader.client(token)];
  });

  const record = async () =>
    await write.ask(RecordMessagesDocument, {
      botId: id,
      messages: [
        {
          conversationId: 'c',
          contactId: 'p',
          direction: 'OUTBOUND',
          status: 'DELIVERED',
          text: 'hello',
          responseTimeMs: 5,
        },
      ],
    });
  const total = async () => (await read.ask(BotStatsDocument, { id })).botStats?.totalMessages;

  /** Reads the totals, and waits until they are cached. */
  const storedTotal = async () => {
    const found = await total();
    await eventually(async () => (await admin.exists(`bot:${id}:stats`)) === 1);
    return found;
  };

  test('another process reads the newer totals without a database read', async () => {
    expect(await storedTotal()).toBe(0);
    for (let count = 1; count <= 5; count++) {
      await record();
      reader.statements.length = 0;
      expect(await total()).toBe(count);
      expect(reader.statements).toEqual([]);
    }
  });

  test('the details, which contain the totals too, are loaded again', async () => {
    const details = async () => (await read.ask(BotDetailsDocument, { id })).botDetails?.stats.totalMessages;
    expect(await storedTotal()).toBe(0);
    expect(await details()).toBe(0);
    await record();
    expect(await details()).toBe(1);
  });

  test('statistics that are not cached are not stored', async () => {
    await record();
    expect(await admin.exists(`bot:${id}:stats`)).toBe(0);
    expect(await total()).toBe(1);
  });

  test('totals stored under a removed generation are removed instead of replaced', async () => {
    expect(await storedTotal()).toBe(0);
    await admin.del(`bot:${id}:stats:gen`);
    await record();
    expect(await admin.exists(`bot:${id}:stats`)).toBe(0);
    expect(await total()).toBe(1);
  });

  test('older totals that arrive late do not replace newer ones, but outdate every earlier load', async () => {
    await storedTotal();
    await record();
    const stored = async () =>
      JSON.parse((await admin.get(`bot:${id}:stats`)) ?? '{}') as Record<string, unknown>;
    const before = await stored();
    // Another writer's newer totals arrive before this writer's.
    const newer = JSON.stringify({
      ...before,
      version: 1_000,
      data: { ...(before.data as object), totalMessages: 999 },
    });
    await admin.set(`bot:${id}:stats`, newer, 'KEEPTTL');
    await record();
    const after = await stored();
    expect(after).toMatchObject({ version: 1_000, data: { totalMessages: 999 } });
    expect(after.gen).not.toBe(before.gen);
    // The generation also names the writes that came after.
    const generation = await admin.get(`bot:${id}:stats:gen`);
    expect(after.gen).toBe(generation?.split(':')[0]);
  });

  test('concurrent writers leave the exact totals', async () => {
    await storedTotal();
    await Promise.all(Array.from({ length: 20 }, record));
    expect(await total()).toBe(20);
  });
});
