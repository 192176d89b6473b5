import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type postgres from 'postgres';

import {
  BotDetailsDocument,
  BotsWithStatsDocument,
  OrganizationStatsDocument,
  BotStatsDocument,
  RecordMessagesDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

const MESSAGE = {
  conversationId: 'c1',
  contactId: 'c',
  direction: 'OUTBOUND' as never,
  status: 'DELIVERED' as never,
  text: '',
  responseTimeMs: 10,
};
const IS_SEEN_MS = 2_000;

/** Changes that people make by SQL to the tables of a running server. */
describe('tables that are emptied or repaired by SQL while a server runs', () => {
  let database: TestDatabase;
  let sql: postgres.Sql;
  let redis: RedisService;
  let app: TestApp;
  let orgId: string;
  let id: string;
  let client: Client;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    ({ sql } = database);
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, REDIS_TIMEOUT_MS: '3000' });
  });

  afterAll(async () => {
    await app?.close();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    orgId = await addOrganization(sql);
    const user = await addUser(sql, { [orgId]: 'OWNER' });
    [id] = (await addBots(sql, orgId, 3)) as [string];
    client = app.client(user.token);
    await client.ask(RecordMessagesDocument, {
      botId: id,
      messages: [MESSAGE, { ...MESSAGE, status: 'FAILED' as never }, { ...MESSAGE, conversationId: 'c2' }],
    });
    await eventually(async () => {
      app.statements.length = 0;
      await views();
      return app.statements.length === 0;
    });
  });

  /** Removes instants, which differ between reads. */
  const views = async () => {
    const page = (await client.send(BotsWithStatsDocument, { orgId })).data?.bots;
    const stats = (await client.send(BotStatsDocument, { id })).data?.botStats;
    const details = (await client.send(BotDetailsDocument, { id })).data?.botDetails;
    const organization = (await client.send(OrganizationStatsDocument, { id: orgId })).data?.organization;
    return {
      total: page?.total,
      bots: page?.items.length,
      listed: page?.items.find((bot) => bot.id === id)?.stats.totalMessages,
      stats: stats && { ...stats, computedAt: '' },
      details: details?.stats.totalMessages,
      organization: organization && { ...organization.stats, computedAt: '' },
    };
  };

  test.each([
    'cache_log_state',
    'cache_invalidations',
    'cache_log_horizons',
    'bot_counts',
    'bot_stats',
    'conversations',
    'organization_totals',
    'organization_totals, bot_stats',
    'bot_stats, conversations, bot_counts, cache_invalidations, cache_log_state, cache_log_horizons',
  ])('TRUNCATE of %s changes no answer, and later writes are visible as before', async (tables) => {
    const before = await views();
    await sql.unsafe(`truncate ${tables}`);
    const endsAt = performance.now() + 500;
    while (performance.now() < endsAt) expect(await views()).toEqual(before);
    const readiness = (await (await fetch(new URL('/readyz', app.url))).json()) as { ready: boolean };
    expect(readiness).toMatchObject({ ready: true, cache: 'up', invalidationLogAgeMs: expect.any(Number) });
    // The value is cached again.
    await eventually(async () => {
      app.statements.length = 0;
      await views();
      return app.statements.length === 0;
    });
    const { recordMessages } = await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE] });
    expect(recordMessages).toMatchObject({ totalMessages: 4, totalConversations: 2 });
    const organization = { bots: 3, runningBots: 0, totalMessages: 4, failedMessages: 1 };
    expect(await views()).toMatchObject({ listed: 4, stats: { totalMessages: 4 }, details: 4, organization });
    await sql`insert into bots (org_id, name, status) values (${orgId}, 'one more', 'RUNNING')`;
    await eventually(async () => {
      expect(await views()).toMatchObject({ total: 4, organization: { bots: 4, runningBots: 1 } });
      return true;
    }, IS_SEEN_MS);
  });

  test.each([
    ['organizations', { total: undefined, stats: null, organization: null }],
    ['users', { total: undefined, stats: null }],
    ['bots', { total: 0, stats: null, organization: { bots: 0, totalMessages: 0, lastMessageAt: null } }],
    [
      'messages',
      {
        total: 3,
        listed: 0,
        stats: { totalMessages: 0 },
        organization: { bots: 3, totalMessages: 0, failedMessages: 0, lastMessageAt: null },
      },
    ],
    ['memberships', { total: undefined, stats: null }],
  ])('TRUNCATE of %s with CASCADE is visible', async (table, expected) => {
    await sql.unsafe(`truncate ${table} cascade`);
    await eventually(async () => {
      const seen = await views();
      expect(seen).toMatchObject(expected);
      return true;
    }, IS_SEEN_MS);
  });

  test.each([
    ['bot_counts', 'delete from bot_counts'],
    ['bot_stats', 'delete from bot_stats'],
    ['organization_totals', 'delete from organization_totals'],
  ])('deleted rows of %s are created again', async (_table, statement) => {
    const before = await views();
    await sql.unsafe(statement);
    const endsAt = performance.now() + 500;
    while (performance.now() < endsAt) expect(await views()).toEqual(before);
    const { recordMessages } = await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE] });
    expect(recordMessages).toMatchObject({ totalMessages: 4, totalConversations: 2 });
  });

  test('totals that are repaired by UPDATE are visible', async () => {
    const isSeen = async (expected: object) =>
      await eventually(async () => {
        expect(await views()).toMatchObject(expected);
        return true;
      }, IS_SEEN_MS);
    await sql`update bot_counts set total = 7 where org_id = ${orgId}`;
    await isSeen({ total: 7 });
    await sql`select recount_organizations(array[${orgId}]::uuid[])`;
    await isSeen({ total: 3 });
    await sql`update bot_stats set inbound = 100 where bot_id = ${id}`;
    await isSeen({ listed: 103, organization: { totalMessages: 103 } });
    await sql`select recount_bots(array[${id}]::uuid[])`;
    await isSeen({ listed: 3, organization: { totalMessages: 3 } });
    await sql`update organization_totals set total_messages = 77, running_bots = 7 where org_id = ${orgId}`;
    await isSeen({ organization: { bots: 3, totalMessages: 77, runningBots: 7 } });
    await sql`select recount_organization_totals(array[${orgId}]::uuid[])`;
    await isSeen({ organization: { bots: 3, totalMessages: 3, runningBots: 0 } });
  });

  test('missing totals count as zero until the next messages create them', async () => {
    await sql`alter table bot_stats disable trigger user`;
    await sql`delete from bot_stats where bot_id = ${id}`;
    await sql`alter table bot_stats enable trigger user`;
    // No entry of the log names this change, so the values stay until they expire.
    await sql`truncate cache_invalidations`;
    await eventually(async () => {
      expect(await views()).toMatchObject({ total: 3, listed: 0, stats: { totalMessages: 0 }, details: 0 });
      return true;
    }, IS_SEEN_MS);
    const { recordMessages } = await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE] });
    expect(recordMessages).toMatchObject({ totalMessages: 4, totalConversations: 2, failedMessages: 1 });
    expect(await views()).toMatchObject({ listed: 4, stats: { totalMessages: 4 }, details: 4 });
  });

  test('totals are right after several clients record the first messages of a bot at once', async () => {
    await sql`alter table bot_stats disable trigger user`;
    await sql`delete from bot_stats where bot_id = ${id}`;
    await sql`alter table bot_stats enable trigger user`;
    await Promise.all(
      Array.from({ length: 12 }, async () => {
        await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE, MESSAGE] });
      }),
    );
    expect(
      (await client.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE] })).recordMessages,
    ).toMatchObject({
      totalMessages: 28,
      totalConversations: 2,
    });
  });
});
