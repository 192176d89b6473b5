import { randomBytes } from 'node:crypto';
import { chmod, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import postgres from 'postgres';

import { PostgresHost } from '../coherence/postgres-host.js';
import {
  BotDocument,
  BotsDocument,
  BotStatsDocument,
  CreateBotDocument,
  MeDocument,
  RecordMessagesDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client, GraphQLAnswer } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createRedis, type RedisService } from '../support/services.js';
import { mountSmallDisk } from '../support/small-disk.js';

const MAX_CONNECTIONS = 20;
const COLD_READS = 30;
const MESSAGES_AT_ONCE = 500;
/** Holds the messages of some requests: 4 MB each. */
const DISK_MB = 24;

/** Messages that PostgreSQL cannot compress. */
const manyMessages = () =>
  Array.from({ length: MESSAGES_AT_ONCE }, (_, n) => ({
    conversationId: `c${n}`,
    contactId: 'p',
    direction: 'INBOUND' as never,
    status: 'DELIVERED' as never,
    text: randomBytes(4_000).toString('hex'),
  }));

/** What every error must be while PostgreSQL is away: certain that nothing was done. */
const NOTHING_DONE = { code: 'UNAVAILABLE', retryable: true };

describe('a fault of PostgreSQL', () => {
  let host: PostgresHost;
  let redis: RedisService;
  let app: TestApp;
  let client: Client;
  let orgId: string;
  let ids: string[];

  beforeAll(async () => {
    [host, redis] = await Promise.all([
      PostgresHost.start({ max_connections: String(MAX_CONNECTIONS) }),
      createRedis(),
    ]);
  });

  beforeEach(async () => {
    orgId = await addOrganization(host.sql);
    const { token } = await addUser(host.sql, { [orgId]: 'OWNER' });
    ids = await addBots(host.sql, orgId, COLD_READS);
    // What waits for its turn would be OVERLOADED.
    app = await startApp({ DATABASE_URL: host.url, REDIS_URL: redis.url, MAX_IN_FLIGHT: '1000' });
    client = app.client(token);
    await eventually(async () => (await readiness()).cache === 'up');
    await eventually(expectWarmReadsFromCache);
  });

  afterEach(async () => {
    await app?.close();
  });

  afterAll(async () => {
    await host?.drop();
    await redis?.stop();
  });

  const readiness = async (): Promise<Record<string, unknown>> =>
    (await (await fetch(new URL('/readyz', app.url))).json()) as Record<string, unknown>;

  /** Reads that the cache answers once they were made. */
  const warmReads = async (): Promise<GraphQLAnswer<unknown>[]> => {
    const [id] = ids as [string];
    return [
      await client.send(MeDocument, {}),
      await client.send(BotsDocument, { orgId }),
      await client.send(BotDocument, { id }),
      await client.send(BotStatsDocument, { id }),
    ];
  };

  const expectWarmReadsFromCache = async (): Promise<void> => {
    app.statements.length = 0;
    for (const { errors } of await warmReads()) expect(errors).toBeUndefined();
    expect(app.statements).toEqual([]);
  };

  /** The different extensions of the errors. */
  const failuresOf = (answers: readonly GraphQLAnswer<unknown>[]): unknown[] => [
    ...new Set(
      answers.flatMap(({ errors = [] }) => errors.map(({ extensions }) => JSON.stringify(extensions))),
    ),
  ];

  const coldReads = async (): Promise<GraphQLAnswer<unknown>[]> =>
    await Promise.all(ids.slice(1).map(async (id) => await client.send(BotDocument, { id })));

  const creations = async (name: string): Promise<GraphQLAnswer<unknown>[]> =>
    await Promise.all(
      ids.map(
        async (_, n) => await client.send(CreateBotDocument, { input: { orgId, name: `${name} ${n}` } }),
      ),
    );

  const created = async (name: string): Promise<number> =>
    (await host.sql`select from bots where org_id = ${orgId} and name like ${`${name} %`}`).length;

  /** Ends the server's connections for requests; the one to the invalidation log stays. */
  const endPool = async (): Promise<void> => {
    await host.sql`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'flovo-bots'`;
  };

  /** Takes all connections that are left. Returns the function that gives them back. */
  async function takeConnections(): Promise<() => Promise<void>> {
    const taken: postgres.Sql[] = [];
    for (;;) {
      const sql = postgres(host.url, { max: 1, fetch_types: false, onnotice: () => {} });
      taken.push(sql);
      const code = await sql`select 1`.then(
        () => undefined,
        (error: { code?: string }) => error.code,
      );
      if (code === undefined) continue;
      expect(code).toBe('53300');
      return async () => {
        await Promise.all(taken.map(async (each) => await each.end({ timeout: 0 })));
      };
    }
  }

  test('all connections are taken: cached reads go on, all others are UNAVAILABLE', async () => {
    await host.sql`select 1`;
    const giveBack = [await takeConnections()];
    try {
      await endPool();
      giveBack.push(await takeConnections());
      await expectWarmReadsFromCache();
      const [reads, writes] = await Promise.all([coldReads(), creations('taken')]);
      expect(failuresOf([...reads, ...writes])).toEqual([JSON.stringify(NOTHING_DONE)]);
      expect([...reads, ...writes].filter(({ errors }) => errors === undefined)).toEqual([]);
      expect(await readiness()).toMatchObject({ cache: 'up' });
      await expectWarmReadsFromCache();
    } finally {
      for (const give of giveBack) await give();
    }
    await eventually(async () => (await coldReads()).every(({ errors }) => errors === undefined));
    expect(await created('taken')).toBe(0);
    for (const { errors } of await creations('free')) expect(errors).toBeUndefined();
    expect(await created('free')).toBe(ids.length);
  });

  test('all connections but a few of the server are taken: those serve everybody', async () => {
    await coldReads();
    await host.sql`select 1`;
    const giveBack = await takeConnections();
    try {
      const answers = [...(await coldReads()), ...(await creations('few'))];
      expect(failuresOf(answers)).toEqual([]);
      expect(await created('few')).toBe(ids.length);
    } finally {
      await giveBack();
    }
  });

  test('it becomes a standby: reads go on, writes are UNAVAILABLE until it is promoted', async () => {
    await host.restart('stop', 0, async () => await addFile('standby.signal'));
    await eventually(async () => (await readiness()).database === 'up');
    const [row] = await host.sql<{ standby: boolean }[]>`select pg_is_in_recovery() as standby`;
    expect(row).toEqual({ standby: true });
    await eventually(async () => (await coldReads()).every(({ errors }) => errors === undefined));
    await eventually(expectWarmReadsFromCache);
    const id = ids[0] as string;
    const writes = [
      ...(await creations('standby')),
      await client.send(UpdateBotDocument, { id, input: { name: 'standby' } }),
      await client.send(RecordMessagesDocument, { botId: id, messages: manyMessages().slice(0, 1) }),
    ];
    expect(failuresOf(writes)).toEqual([JSON.stringify(NOTHING_DONE)]);
    expect(writes.filter(({ errors }) => errors === undefined)).toEqual([]);
    await expectWarmReadsFromCache();
    await addFile('promote');
    process.kill(host.pid, 'SIGUSR1');
    await eventually(
      async () =>
        (await client.send(UpdateBotDocument, { id, input: { name: 'promoted' } })).errors === undefined,
    );
    expect(await created('standby')).toBe(0);
    expect(await client.ask(BotDocument, { id })).toMatchObject({ bot: { name: 'promoted', version: 2 } });
  });

  test('it shuts down, and waits for sessions: cached reads go on, all others are UNAVAILABLE', async () => {
    await endPool();
    process.kill(host.pid, 'SIGTERM');
    // The connection to the invalidation log keeps it from ending.
    await eventually(async () => {
      const sql = postgres(host.url, { max: 1, fetch_types: false });
      const error = await sql`select 1`.catch((cause: { code?: string }) => cause);
      await sql.end({ timeout: 0 });
      return 'code' in error && error.code === '57P03';
    });
    await expectWarmReadsFromCache();
    const answers = [...(await coldReads()), ...(await creations('shutting down'))];
    expect(failuresOf(answers)).toEqual([JSON.stringify(NOTHING_DONE)]);
    expect(answers.filter(({ errors }) => errors === undefined)).toEqual([]);
    await host.restart('stop', 0);
    await eventually(async () => (await coldReads()).every(({ errors }) => errors === undefined));
    expect(await created('shutting down')).toBe(0);
  });

  test('its disk is full: reads go on, writes that need room are UNAVAILABLE', async () => {
    const disk = await mountSmallDisk(DISK_MB, host.files);
    if (!disk) {
      process.stderr.write('  This account may not mount a small disk: a full disk is not tested.\n');
      return;
    }
    const moveMessages = async (tablespace: string): Promise<void> =>
      await host.asSuperuser(async (sql) => {
        await sql.unsafe(`alter table messages set tablespace ${tablespace}`);
      });
    const botId = ids[0] as string;
    const send = async () => await client.send(RecordMessagesDocument, { botId, messages: manyMessages() });
    let sent = 0;
    try {
      await host.asSuperuser(async (sql) => {
        await sql.unsafe(`create tablespace small location '${disk.folder}'`);
      });
      await moveMessages('small');
      const failure = await eventually(async () => {
        const { errors } = await send();
        if (errors) return errors;
        sent += 1;
        return false;
      });
      expect(failure).toMatchObject([{ extensions: NOTHING_DONE }]);
      expect(JSON.stringify(app.logs)).toContain('No space left on device');
      await expectWarmReadsFromCache();
      expect(failuresOf(await coldReads())).toEqual([]);
      await client.ask(UpdateBotDocument, { id: botId, input: { name: 'needs no room there' } });
      await moveMessages('pg_default');
      await host.asSuperuser(async (sql) => {
        await sql.unsafe('drop tablespace small');
      });
    } finally {
      await disk.unmount();
    }
    expect((await send()).errors).toBeUndefined();
    const total = (sent + 1) * MESSAGES_AT_ONCE;
    const [row] = await host.sql`select count(*)::int as total from messages where bot_id = ${botId}`;
    expect(row).toEqual({ total });
    expect(await client.ask(BotStatsDocument, { id: botId })).toMatchObject({
      botStats: { totalMessages: total },
    });
  }, 60_000);

  /** Adds an empty file to those of PostgreSQL, which may run as another account. */
  async function addFile(name: string): Promise<void> {
    const at = path.join(host.files, name);
    await writeFile(at, '');
    await chmod(at, 0o666);
  }
});
