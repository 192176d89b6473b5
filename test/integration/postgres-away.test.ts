import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { signToken } from '../../src/auth/sign-token.js';
import { CreateBotDocument, MeDocument, UpdateBotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser, SECRET } from '../support/people.js';
import { startServerProcess } from '../support/server-process.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** Far longer than a connection may pause before it reconnects, and far shorter than the driver's own pause (ms). */
const SOON_MS = 5_000;
const FAILED_REQUESTS = 40;

describe('while PostgreSQL cannot be reached', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let app: TestApp;
  let token: string;

  beforeAll(async () => {
    database = await createDatabase();
    proxy = await TcpProxy.before(database.url);
    ({ token } = await addUser(database.sql, {}));
    app = await startApp({ DATABASE_URL: proxy.url });
  });

  afterAll(async () => {
    await app?.close();
    proxy?.close();
    await database?.drop();
  });

  test('requests fail with a retryable error, and are answered soon after it is reachable again, however many have failed', async () => {
    const client = app.client(token);
    expect(await client.ask(MeDocument, {})).toMatchObject({ me: { memberships: [] } });
    proxy.refuse();
    for (let i = 0; i < FAILED_REQUESTS; i++) {
      expect((await client.failure(MeDocument, {})).code).toBe('UNAVAILABLE');
    }
    await proxy.resume();
    await eventually(async () => (await client.send(MeDocument, {})).errors === undefined, SOON_MS);
  });

  test("so do requests whose token names the user by the identity provider's subject", async () => {
    const client = app.client(await signToken(SECRET, 'auth0|someone'));
    expect((await client.failure(MeDocument, {})).code).toBe('UNAUTHENTICATED');
    proxy.refuse();
    try {
      const { status, errors } = await client.send(MeDocument, {});
      expect(status).toBe(503);
      expect(errors).toEqual([
        { message: expect.any(String), extensions: { code: 'UNAVAILABLE', retryable: true } },
      ]);
    } finally {
      await proxy.resume();
    }
    await eventually(async () => (await client.failure(MeDocument, {})).code === 'UNAUTHENTICATED', SOON_MS);
  });

  test('and another program closes each connection at once, requests fail instead of waiting for ever', async () => {
    const client = app.client(token);
    const closing = createServer((socket) => socket.end());
    closing.listen(0, '127.0.0.1');
    await once(closing, 'listening');
    proxy.retarget(`postgres://127.0.0.1:${(closing.address() as AddressInfo).port}`);
    proxy.cut();
    for (let i = 0; i < 3; i++) {
      expect((await client.failure(MeDocument, {})).code).toBe('UNAVAILABLE');
    }
    proxy.retarget(database.url);
    closing.close();
    await eventually(async () => (await client.send(MeDocument, {})).errors === undefined, SOON_MS);
  });
});

test('a server survives the loss of its connections to PostgreSQL at each step of opening them', async () => {
  const database = await createDatabase();
  const proxy = await TcpProxy.before(database.url);
  const { token } = await addUser(database.sql, {});
  const server = await startServerProcess({ DATABASE_URL: proxy.url, REDIS_URL: 'off' });
  try {
    const client = server.client(token);
    const answers = async (): Promise<boolean> => (await client.send(MeDocument, {})).errors === undefined;
    for (let steps = 1; steps <= 8; steps++) {
      let left = steps;
      proxy.cut();
      await new Promise<void>((resolve) => {
        proxy.watch(({ direction }) => {
          if (direction === 'down' || --left > 0) return;
          proxy.watch(undefined);
          proxy.cut();
          resolve();
        });
        // The answer does not matter; the request makes the server open a connection.
        void answers();
      });
      await eventually(answers);
    }
    expect(server.child.exitCode).toBeNull();
  } finally {
    await server.end('SIGKILL');
    proxy.close();
    await database.drop();
  }
});

describe('when PostgreSQL ends a busy connection', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({ DATABASE_URL: database.url, DATABASE_POOL_MAX: '1' });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  /** Ends the server's connection that waits for a lock. */
  const endWaiting = async (): Promise<boolean> => {
    const ended = await database.sql`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'flovo-bots' and wait_event_type = 'Lock'`;
    return ended.length === 1;
  };

  test('only the running statement fails, and the next ones are executed once each', async () => {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const client = app.client(token);
    await client.ask(MeDocument, {});
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`select from bots where id = ${id} for update`;
    const running = client.failure(UpdateBotDocument, { id, input: { name: 'never' } });
    await eventually(endWaiting);
    expect((await running).code).toBe('UNAVAILABLE');
    await lock`rollback`;
    lock.release();
    const names = ['one', 'two', 'three'];
    for (const name of names) await client.ask(CreateBotDocument, { input: { orgId, name } });
    const rows = await database.sql<
      { name: string }[]
    >`select name from bots where org_id = ${orgId} order by created_at, id`;
    expect(rows.map(({ name }) => name)).toEqual(['bot 1', ...names]);
  });
});
