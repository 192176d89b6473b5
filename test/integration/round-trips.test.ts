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

/** The contract limits the cost of a request: Redis round trips when warm, SQL statements when cold. */
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

  /** Waits for the fills, by their locks: a fill frees its locks. */
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

  test('50 bots with their statistics take 1 Redis read if the response is cached', async () => {
    const ask = async () => await client.ask(BotsWithStatsDocument, { orgId, limit: 50 });
    const first = await ask();
    await stored();
    await admin.config('RESETSTAT');
    app.statements.length = 0;
    expect(await ask()).toEqual(first);
    expect(app.statements).toEqual([]);
    expect(await redisCalls()).toMatchObject({ mget: 1 });
  });

  test('50 bots with their statistics take 2 Redis reads if only their values are cached', async () => {
    const ask = async () => await client.ask(BotsWithStatsDocument, { orgId, limit: 50 });
    await ask();
    await stored();
    await admin.config('RESETSTAT');
    app.statements.length = 0;
    // A variant of the same query, so that no cached response is used.
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

  test('50 bots with their statistics take 2 SQL statements if only the caller is cached', async () => {
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

  describe('several pages in one request', () => {
    let otherOrgId: string;
    let both: Client;

    beforeAll(async () => {
      otherOrgId = await addOrganization(database.sql, 'Other');
      await database.sql`
        insert into bots (org_id, name, created_at)
        select ${otherOrgId}, 'other ' || n, timestamptz '2026-01-01T00:00:00Z' + n * interval '1 minute'
        from generate_series(1, 7) as n`;
      const { token } = await addUser(database.sql, { [orgId]: 'VIEWER', [otherOrgId]: 'VIEWER' });
      both = app.client(token);
    });

    interface Page {
      readonly total: number;
      readonly items: readonly { readonly name: string }[];
    }

    /** Reads pages in one request of a caller whose memberships are cached. Returns them and the SQL statements. */
    const ask = async (pages: Readonly<Record<string, string>>) => {
      await both.ask(BotDocument, { id: botIds[0] as string });
      await stored();
      app.statements.length = 0;
      const fields = Object.entries(pages).map(
        ([alias, args]) => `${alias}: bots(${args}) { total items { name } }`,
      );
      const { data, errors } = await both.sendText<Record<string, Page>>(`{ ${fields.join(' ')} }`);
      expect(errors).toBeUndefined();
      const found = Object.entries(data ?? {}).map(([alias, { total, items }]) => [
        alias,
        { total, names: items.map(({ name }) => name) },
      ]);
      return { found: Object.fromEntries(found) as unknown, statements: app.statements.length };
    };

    const names = (prefix: string, from: number, to: number) =>
      Array.from({ length: Math.max(0, from - to + 1) }, (_, n) => `${prefix} ${from - n}`);

    test('of one organization take 1 SQL statement, and each has its own bots', async () => {
      const { found, statements } = await ask({
        last: `orgId: "${orgId}", page: 6, limit: 11`,
        first: `orgId: "${orgId}", limit: 3`,
        beyond: `orgId: "${orgId}", page: 9, limit: 100`,
      });
      expect(found).toEqual({
        last: { total: 60, names: names('bot', 5, 1) },
        first: { total: 60, names: names('bot', 60, 58) },
        beyond: { total: 60, names: [] },
      });
      expect(statements).toBe(1);
    });

    test('of 2 organizations take 1 SQL statement, and each has its own bots', async () => {
      const { found, statements } = await ask({
        other: `orgId: "${otherOrgId}", page: 2, limit: 4`,
        one: `orgId: "${orgId}", page: 2, limit: 4`,
      });
      expect(found).toEqual({
        other: { total: 7, names: names('other', 3, 1) },
        one: { total: 60, names: names('bot', 56, 53) },
      });
      expect(statements).toBe(1);
    });

    test('with searches take 1 SQL statement for each search and 1 for all others', async () => {
      const { found, statements } = await ask({
        rare: `orgId: "${orgId}", search: "BOT 42"`,
        all: `orgId: "${otherOrgId}", limit: 2`,
        letter: `orgId: "${otherOrgId}", search: "h", page: 2, limit: 3`,
        none: `orgId: "${orgId}", search: "***"`,
        digits: `orgId: "${orgId}", search: "9", limit: 100`,
        page: `orgId: "${orgId}", limit: 1`,
      });
      expect(found).toEqual({
        rare: { total: 1, names: ['bot 42'] },
        all: { total: 7, names: names('other', 7, 6) },
        letter: { total: 7, names: names('other', 4, 2) },
        none: { total: 0, names: [] },
        digits: { total: 6, names: ['bot 59', 'bot 49', 'bot 39', 'bot 29', 'bot 19', 'bot 9'] },
        page: { total: 60, names: ['bot 60'] },
      });
      expect(statements).toBe(5);
    });

    test('and all bots of 2 organizations take 1 SQL statement, beside the one for the organizations', async () => {
      await both.ask(BotDocument, { id: botIds[0] as string });
      await stored();
      app.statements.length = 0;
      const { data } = await both.sendText<Record<string, { bots: { name: string }[] }>>(
        `{ other: organization(id: "${otherOrgId}") { bots { name } } one: organization(id: "${orgId}") { bots { name } } }`,
      );
      expect(data?.['other']?.bots.map(({ name }) => name)).toEqual(names('other', 7, 1));
      expect(data?.['one']?.bots.map(({ name }) => name)).toEqual(names('bot', 60, 1));
      expect(app.statements).toHaveLength(2);
    });
  });
});
