import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { setTimeout as pause } from 'node:timers/promises';

import { PostgresHost } from '../coherence/postgres-host.js';
import { CreateBotDocument, RecordMessagesDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client, GraphQLAnswer } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startPgBouncer, type PgBouncer } from '../support/pgbouncer.js';
import { createDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const WRITERS = 4;
const WRITES_OF_EACH = 15;
/** The pause between two faults, at most (ms). */
const MAX_PAUSE_MS = 500;
/** A server is answered again after it was refused (ms). */
const AWAY_MS = 20;

const message = {
  conversationId: 'c',
  contactId: 'p',
  direction: 'OUTBOUND' as never,
  status: 'DELIVERED' as never,
  text: '',
};

/** What became of the writes of one kind, as clients know it. */
class Count {
  done = 0;
  perhaps = 0;
  readonly codes = new Set<unknown>();

  add({ errors }: GraphQLAnswer<unknown>): 'done' | 'perhaps' | 'not done' {
    if (!errors) {
      this.done += 1;
      return 'done';
    }
    const { code, outcome, recorded } = (errors[0]?.extensions ?? {}) as {
      readonly code: string;
      readonly outcome?: string;
      readonly recorded?: boolean;
    };
    this.codes.add(code);
    if (recorded === true) {
      this.done += 1;
      return 'done';
    }
    if (outcome !== 'unknown') return 'not done';
    this.perhaps += 1;
    return 'perhaps';
  }

  /** Whether as many writes may have been made. */
  admits(found: number): boolean {
    return found >= this.done && found <= this.done + this.perhaps;
  }
}

describe.each([
  ['directly', false],
  ['through PgBouncer', true],
])('writes that reach PostgreSQL %s are neither lost nor doubled', (_how, isPooled) => {
  let host: PostgresHost;
  let bouncer: PgBouncer | undefined;
  let app: TestApp;

  beforeAll(async () => {
    host = await PostgresHost.start();
    bouncer = isPooled ? await startPgBouncer(host.url, { server_login_retry: '0' }) : undefined;
    app = await startApp({ DATABASE_URL: bouncer?.url ?? host.url });
  });

  afterAll(async () => {
    await app?.close();
    await bouncer?.stop();
    await host?.drop();
  });

  /** The sessions that execute statements of the server. */
  const pids = async (): Promise<number[]> => {
    const rows = await host.sql<{ pid: number }[]>`
      select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'
        and pid <> pg_backend_pid() and query not like '%pg_stat_activity%' and query not like '%cache_invalidations%'`;
    return rows.map(({ pid }) => pid);
  };

  const FAULTS: readonly [name: string, act: () => Promise<unknown>][] = [
    [
      'its sessions are terminated',
      async () => await host.sql`select pg_terminate_backend(pid) from unnest(${await pids()}::int[]) as pid`,
    ],
    [
      'a process of it is killed, so that it recovers from a crash',
      async () => {
        const all = await pids();
        const pid = all[Math.floor(Math.random() * all.length)];
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
      },
    ],
    ['it is restarted', async () => await host.restart('stop', 0)],
    ['it is killed, and started again', async () => await host.restart('kill', 0)],
    [
      'statements are cancelled',
      async () => await host.sql`select pg_cancel_backend(pid) from unnest(${await pids()}::int[]) as pid`,
    ],
  ];

  // For a pooler, a restart is the end of all sessions.
  const faults = isPooled ? FAULTS.filter(([name]) => !/started/.test(name)) : FAULTS;

  test.each(faults)(
    'while %s',
    async (_name, act) => {
      // It may still recover from the fault before.
      const orgId = await eventually(async () => await addOrganization(host.sql));
      const { token } = await addUser(host.sql, { [orgId]: 'OWNER' });
      const [botId] = (await addBots(host.sql, orgId, 1)) as [string];
      const client: Client = app.client(token);
      const [creations, updates, records] = [new Count(), new Count(), new Count()];
      const outcomes = new Map<string, ReturnType<Count['add']>>();
      const writing = { isOver: false };
      const acting = (async () => {
        for (let turn = 0; turn === 0 || !writing.isOver; turn++) {
          await pause(Math.random() * MAX_PAUSE_MS);
          // The fault may end this connection, too.
          await act().catch(() => undefined);
        }
      })();
      const write = async (writer: number): Promise<void> => {
        for (let n = 0; n < WRITES_OF_EACH; n++) {
          const name = `bot ${writer} ${n}`;
          const answer = await client.send(CreateBotDocument, { input: { orgId, name } });
          outcomes.set(name, creations.add(answer));
          updates.add(await client.send(UpdateBotDocument, { id: botId, input: { description: name } }));
          records.add(await client.send(RecordMessagesDocument, { botId, messages: [message, message] }));
          if (answer.errors) await pause(AWAY_MS);
        }
      };
      await Promise.all(Array.from({ length: WRITERS }, async (_, n) => await write(n))).finally(
        () => (writing.isOver = true),
      );
      await acting;
      for (const { codes } of [creations, updates, records])
        expect([...codes].filter((code) => code !== 'UNAVAILABLE')).toEqual([]);
      const made = await eventually(
        async () =>
          await host.sql<{ name: string; times: number }[]>`
          select name, count(*)::int as times from bots where org_id = ${orgId} and id <> ${botId} group by name`,
      );
      expect(made.filter(({ times }) => times > 1)).toEqual([]);
      const names = new Set(made.map(({ name }) => name));
      const wrong = [...outcomes].filter(
        ([name, outcome]) => outcome !== 'perhaps' && names.has(name) !== (outcome === 'done'),
      );
      expect(wrong).toEqual([]);
      const [bot] = await eventually(
        async () =>
          await host.sql<{ version: number; messages: number; total: number }[]>`
          select version, (select count(*)::int from messages where bot_id = ${botId}) as messages,
            (select inbound + outbound from bot_stats where bot_id = ${botId})::int as total
          from bots where id = ${botId}`,
      );
      expect(updates.admits((bot?.version ?? 0) - 1)).toBe(true);
      expect(records.admits((bot?.messages ?? 0) / 2)).toBe(true);
      expect(bot?.total).toBe(bot?.messages);
      process.stderr.write(
        `  ${creations.done} done, ${creations.perhaps} with an unknown outcome, of ${outcomes.size} creations\n`,
      );
    },
    120_000,
  );
});

test('a reply that PgBouncer loses leaves the outcome unknown, and the write is made once', async () => {
  const database = await createDatabase();
  const proxy = await TcpProxy.before(database.url);
  const bouncer = await startPgBouncer(proxy.url);
  const app = await startApp({ DATABASE_URL: bouncer.url });
  try {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const reply = proxy.hold((text) => text.includes('INSERT 0 1'), 'down');
    const answer = app.client(token).send(CreateBotDocument, { input: { orgId, name: 'once' } });
    await reply.caught;
    proxy.cut();
    expect((await answer).errors).toMatchObject([
      { extensions: { code: 'UNAVAILABLE', outcome: 'unknown' } },
    ]);
    expect(JSON.stringify(app.logs)).toContain('08P01');
    expect(await database.sql`select from bots where org_id = ${orgId}`).toHaveLength(1);
  } finally {
    await app.close();
    await bouncer.stop();
    proxy.close();
    await database.drop();
  }
});
