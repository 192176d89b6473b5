import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { BotDocument, BotsDocument, MeDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const STATEMENT_TIMEOUT_MS = 700;
/** The limit of a statement, the limit of a silent connection, and room for a busy machine (ms). */
const FAILED_WITHIN_MS = STATEMENT_TIMEOUT_MS + 1_000 + 2_000;

describe('every wait for PostgreSQL ends', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let app: TestApp;
  let client: Client;
  let orgId: string;
  let ids: string[];

  beforeEach(async () => {
    database = await createDatabase();
    proxy = await TcpProxy.before(database.url);
    orgId = await addOrganization(database.sql);
    ids = await addBots(database.sql, orgId, 6);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    app = await startApp({
      DATABASE_URL: proxy.url,
      DATABASE_POOL_MAX: '4',
      DATABASE_STATEMENT_TIMEOUT_MS: String(STATEMENT_TIMEOUT_MS),
      DATABASE_LOCK_TIMEOUT_MS: '300',
      DATABASE_POOL_TIMEOUT_MS: '4000',
    });
    client = app.client(token);
  });

  afterEach(async () => {
    await app?.close();
    proxy?.close();
    await database?.drop();
  });

  const readyz = async (): Promise<{ ms: number; state: Record<string, unknown> }> => {
    const startedAt = performance.now();
    const response = await fetch(new URL('/readyz', app.url));
    const state = (await response.json()) as Record<string, unknown>;
    return { ms: performance.now() - startedAt, state };
  };

  test('silent connections are replaced, and requests that waited on one get a retryable error', async () => {
    await Promise.all(ids.map(async (id) => await client.ask(BotDocument, { id })));
    await readyz();
    proxy.abandon();
    const { ms, state } = await readyz();
    expect(state).toMatchObject({ ready: true, database: 'up' });
    expect(ms).toBeLessThan(1_000);
    const startedAt = performance.now();
    const failure = await client.failure(BotDocument, { id: ids[0] as string });
    expect(failure.code).toBe('UNAVAILABLE');
    expect(performance.now() - startedAt).toBeLessThan(FAILED_WITHIN_MS);
    for (const id of ids) await client.ask(BotDocument, { id });
  });

  test('/readyz answers within a second while PostgreSQL is silent, can leave it out, and recovers', async () => {
    await readyz();
    proxy.stall();
    const { ms, state } = await readyz();
    expect(state).toMatchObject({ ready: false, database: 'down' });
    expect(ms).toBeLessThan(1_000);
    const process = await fetch(new URL('/readyz?exclude=database', app.url));
    expect([process.status, await process.json()]).toEqual([200, { ready: true, draining: false }]);
    await proxy.resume();
    await eventually(async () => (await readyz()).state.ready === true);
  });

  test('a held row lock blocks neither reads of other bots nor /readyz, and writers that wait for it get an error in time', async () => {
    await client.ask(MeDocument, {});
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`select from bots where id = ${ids[0] as string} for update`;
    const locked = Array.from({ length: 12 }, async () => {
      return await client.failure(UpdateBotDocument, { id: ids[0] as string, input: { name: 'never' } });
    });
    await eventually(async () => {
      const waiting = await database.sql`
        select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      return waiting.length > 0;
    });
    for (const id of ids.slice(1))
      expect(await client.ask(BotDocument, { id })).toMatchObject({ bot: { id } });
    expect(await readyz()).toMatchObject({ state: { ready: true } });
    const failures = await Promise.all(locked);
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['UNAVAILABLE']));
    await lock`rollback`;
    lock.release();
    expect(await client.ask(BotDocument, { id: ids[0] as string })).toMatchObject({ bot: { name: 'bot 1' } });
  });

  test('reads of a locked table fail in time, and are cancelled in the database', async () => {
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`lock table bots in access exclusive mode`;
    const answer = await client.send(BotsDocument, { orgId });
    expect(answer.errors).toMatchObject([
      { message: expect.stringContaining('try again'), extensions: { code: 'UNAVAILABLE', retryable: true } },
    ]);
    const waiting = await database.sql`
      select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    expect(waiting).toHaveLength(0);
    expect((await readyz()).ms).toBeLessThan(1_000);
    await lock`rollback`;
    lock.release();
    await client.ask(BotsDocument, { orgId });
  });

  test('a locked table of migrations does not make the server unready', async () => {
    await readyz();
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`lock table drizzle.__drizzle_migrations in access exclusive mode`;
    const { ms, state } = await readyz();
    expect(state).toMatchObject({ ready: true, migrated: true });
    expect(ms).toBeLessThan(1_000);
    await lock`rollback`;
    lock.release();
  });
});
