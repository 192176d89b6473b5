import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { BotDocument, BotStatsDocument, BotsDocument, BotsWithStatsDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

describe('a server that starts', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let orgId: string;
  let busy: string;
  let quiet: string;
  let token: string;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    orgId = await addOrganization(database.sql);
    [busy = '', quiet = ''] = await addBots(database.sql, orgId, 5);
    ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
  });

  afterAll(async () => {
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  const start = async (settings: Record<string, string> = {}): Promise<TestApp> =>
    await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, WARM_ON_START: 'on', ...settings });
  /** Removes everything but the list of what was read. */
  const expireAll = async () => {
    const keys = (await admin.keys('*')).filter((key) => !key.startsWith('most-read'));
    if (keys.length > 0) await admin.del(...keys);
  };
  /** The statements that an answer takes. */
  const statementsOf = async (app: TestApp, ask: () => Promise<unknown>): Promise<number> => {
    app.statements.length = 0;
    await ask();
    return app.statements.length;
  };

  test('has loaded what was read most before, by cached responses too, and asks PostgreSQL for nothing of it', async () => {
    await admin.flushall();
    const before = await start({ WARM_ON_START: 'off' });
    const client = before.client(token);
    for (let n = 0; n < 5; n++) {
      await client.ask(BotDocument, { id: busy });
      await client.ask(BotsWithStatsDocument, { orgId });
    }
    await before.close();
    await expireAll();

    const after = await start();
    try {
      expect(await after.metric('flovo_cache_warmed_values_total')).toBeGreaterThanOrEqual(8);
      const again = after.client(token);
      expect(await statementsOf(after, async () => await again.ask(BotDocument, { id: busy }))).toBe(0);
      expect(await statementsOf(after, async () => await again.ask(BotsWithStatsDocument, { orgId }))).toBe(
        0,
      );
      expect(await statementsOf(after, async () => await again.ask(BotDocument, { id: quiet }))).toBe(1);
    } finally {
      await after.close();
    }
  });

  test('loads nothing that is cached', async () => {
    const after = await start();
    try {
      const loads = await after.metric('flovo_cache_loads_total');
      expect([await after.metric('flovo_cache_warmed_values_total'), loads]).toEqual([0, 0]);
    } finally {
      await after.close();
    }
  });

  test('has loaded the first pages of active organizations, if nothing is remembered', async () => {
    await admin.flushall();
    await database.sql`
      insert into messages (bot_id, conversation_id, contact_id, direction) values (${busy}, 'c', 'c', 'INBOUND')`;
    const after = await start();
    try {
      const client = after.client(token);
      // The caller is not among what is loaded.
      await client.ask(BotDocument, { id: quiet });
      await eventually(async () => (await admin.keys('*:lock')).length === 0);
      expect(await statementsOf(after, async () => await client.ask(BotsDocument, { orgId }))).toBe(0);
      expect(await statementsOf(after, async () => await client.ask(BotStatsDocument, { id: quiet }))).toBe(
        0,
      );
    } finally {
      await after.close();
    }
  });

  test('loads nothing with WARM_ON_START=off', async () => {
    await admin.flushall();
    const after = await start({ WARM_ON_START: 'off' });
    try {
      expect(await admin.keys('bot*')).toEqual([]);
    } finally {
      await after.close();
    }
  });

  test('shows what was written while it loaded, and after', async () => {
    await admin.flushall();
    const stop = new AbortController();
    let version = 0;
    const writing = (async () => {
      while (!stop.signal.aborted) {
        await database.sql`update bots set description = ${String(++version)} where id = ${busy}`;
      }
    })();
    const after = await start();
    try {
      const client = after.client(token);
      stop.abort();
      await writing;
      const shown = async () => ({
        bot: (await client.ask(BotDocument, { id: busy })).bot?.description,
        page: (await client.ask(BotsDocument, { orgId })).bots.items.find(({ id }) => id === busy)
          ?.description,
      });
      const newest = String(version);
      await eventually(async () => (await shown()).bot === newest, 2_000);
      expect(await shown()).toEqual({ bot: newest, page: newest });
    } finally {
      stop.abort();
      await after.close();
    }
  });

  test('starts as quickly and serves, if Redis is frozen', async () => {
    redis.freeze();
    try {
      const after = await start({ REDIS_TIMEOUT_MS: '50' });
      expect((await after.client(token).ask(BotDocument, { id: busy })).bot?.id).toBe(busy);
      await after.close();
    } finally {
      redis.thaw();
    }
  });
});
