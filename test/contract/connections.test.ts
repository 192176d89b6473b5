import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest, Agent, type IncomingMessage } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { BotsDocument } from '../generated/graphql.js';
import { startApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser, SECRET } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

jest.setTimeout(90_000);

let database: TestDatabase;
let orgId: string;
let token: string;

beforeAll(async () => {
  database = await createDatabase();
  orgId = await addOrganization(database.sql);
  await addBots(database.sql, orgId, 1);
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
});

afterAll(async () => {
  await database?.drop();
});

/** One connection of a client, and the bytes received on it. */
class Connection {
  readonly socket: Socket;
  received = '';
  /** The code of the error that ended it; undefined if the server closed it properly. */
  error: string | undefined;
  readonly closed: Promise<unknown>;

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.socket = connect(Number(port), hostname);
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.socket.setEncoding('utf8').on('data', (chunk: string) => (this.received += chunk));
    this.socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code));
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Sends a request without a body. */
  get(path: string): void {
    this.send(`GET ${path} HTTP/1.1\r\nhost: server\r\n\r\n`);
  }

  /** Waits until this many responses have begun. */
  async responses(count: number): Promise<string> {
    await eventually(() => this.received.split('HTTP/1.1 ').length > count);
    return this.received;
  }
}

const readyz = async (server: ServerProcess, query = '') => {
  const response = await fetch(new URL(`/readyz${query}`, server.url));
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe('KEEP_ALIVE_SECONDS', () => {
  const valid = { DATABASE_URL: 'postgres://127.0.0.1/x', REDIS_URL: 'off', JWT_SECRET: SECRET };

  test('is 72 unless it is set, and cannot be none or endless', () => {
    expect(readConfig(valid).http.keepAliveSeconds).toBe(72);
    expect(readConfig({ ...valid, KEEP_ALIVE_SECONDS: '620' }).http.keepAliveSeconds).toBe(620);
    for (const KEEP_ALIVE_SECONDS of ['0', '-1', '1.5', '3601', 'long']) {
      expect(() => readConfig({ ...valid, KEEP_ALIVE_SECONDS })).toThrow(/KEEP_ALIVE_SECONDS must be/);
    }
  });

  test('is announced in every response; an idle connection can be used again until then, and is closed after it', async () => {
    const app = await startApp({ DATABASE_URL: database.url, KEEP_ALIVE_SECONDS: '2' });
    try {
      const connection = new Connection(app.url);
      connection.get('/healthz');
      expect(await connection.responses(1)).toMatch(/^keep-alive: timeout=2\r$/im);
      const since = performance.now();
      await eventually(() => performance.now() - since > 1_500);
      connection.get('/graphql?query={__typename}');
      expect(await connection.responses(2)).toContain('{"data":{"__typename":"Query"}}');
      await connection.closed;
      expect(connection.error).toBeUndefined();
    } finally {
      await app.close();
    }
  });

  test('may be longer than the time limit of a request', async () => {
    const app = await startApp({ DATABASE_URL: database.url, KEEP_ALIVE_SECONDS: '620' });
    try {
      const response = await fetch(new URL('/healthz', app.url));
      expect(response.headers.get('keep-alive')).toBe('timeout=620');
    } finally {
      await app.close();
    }
  });
});

describe('SHUTDOWN_DELAY_MS', () => {
  const servers: ServerProcess[] = [];

  afterAll(async () => {
    await Promise.all(servers.map(async (server) => await server.end('SIGKILL')));
  });

  const start = async (delayMs: number) => {
    const server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: 'off',
      SHUTDOWN_DELAY_MS: String(delayMs),
    });
    servers.push(server);
    return server;
  };

  /** Blocks statements on bots until the lock is released. */
  async function lockBots(): Promise<() => Promise<void>> {
    const connection = await database.sql.reserve();
    await connection.unsafe('begin; lock table bots in access exclusive mode');
    return async () => {
      await connection.unsafe('rollback');
      connection.release();
    };
  }

  const waitingStatements = async (count: number) =>
    await eventually(async () => {
      const [row] = await database.sql`select count(*)::int as waiting from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      return row?.waiting >= count;
    });

  const stopping = async (server: ServerProcess) =>
    await eventually(() => server.output.some((line) => line.includes('"Stopping"')));

  test('makes a server that is no longer ready keep serving, and close each connection with its next response', async () => {
    const server = await start(600_000);
    expect(await readyz(server)).toMatchObject({ status: 200, body: { ready: true, draining: false } });
    const [used, silent] = [new Connection(server.url), new Connection(server.url)];
    used.get('/healthz');
    expect(await used.responses(1)).toMatch(/^connection: keep-alive\r$/im);

    server.child.kill('SIGTERM');
    await stopping(server);
    const stops = { status: 503, body: { ready: false, draining: true } };
    expect(await readyz(server)).toEqual(stops);
    expect(await readyz(server, '?exclude=database')).toEqual(stops);
    const { status, data } = await server.client(token).send(BotsDocument, { orgId });
    expect([status, data?.bots.total]).toEqual([200, 1]);
    expect((await fetch(new URL('/healthz', server.url))).status).toBe(200);
    for (const [connection, count] of [
      [used, 2],
      [silent, 1],
    ] as const) {
      connection.get('/graphql?query={__typename}');
      expect(await connection.responses(count)).toMatch(/^connection: close\r$/im);
      await connection.closed;
      expect(connection.error).toBeUndefined();
      expect(connection.received).toContain('{"data":{"__typename":"Query"}}');
    }
    expect(server.child.exitCode).toBeNull();
  });

  test.each([0, 500])(
    'of %d: connections without a request do not delay the stop, and pending requests are answered',
    async (delayMs) => {
      const server = await start(delayMs);
      const [idle, silent, begun] = [1, 2, 3].map(() => new Connection(server.url)) as [
        Connection,
        Connection,
        Connection,
      ];
      idle.get('/healthz');
      await idle.responses(1);
      begun.send('GET /healthz HTTP/1.1\r\nhost: ser');
      const release = await lockBots();
      const underWay = server.client(token).send(BotsDocument, { orgId, search: `of ${delayMs}` });
      await waitingStatements(1);
      const exit = server.end('SIGTERM');
      await Promise.all([idle.closed, silent.closed, begun.closed]);
      expect(server.child.exitCode).toBeNull();
      await release();
      expect(await underWay).toMatchObject({ status: 200, data: { bots: { total: 0 } } });
      expect(await exit).toBe(0);
      expect(server.output.join('\n')).not.toContain('Could not stop');
    },
  );

  test('of 0: requests that have been sent before the signal are answered, on old connections and new ones', async () => {
    const server = await start(0);
    const connections = Array.from({ length: 50 }, () => new Connection(server.url));
    for (const connection of connections) connection.get('/healthz');
    await Promise.all(connections.map(async (connection) => await connection.responses(1)));
    // While frozen, the server reads nothing; it then gets the requests and the signal at once.
    server.child.kill('SIGSTOP');
    const fresh = Array.from({ length: 50 }, () => new Connection(server.url));
    await Promise.all(fresh.map(async ({ socket }) => await once(socket, 'connect')));
    for (const connection of [...connections, ...fresh]) connection.get('/graphql?query={__typename}');
    const exit = server.end('SIGTERM');
    server.child.kill('SIGCONT');
    await Promise.all([...connections, ...fresh].map(async ({ closed }) => await closed));
    const answered = (each: Connection) => each.received.includes('{"data":{"__typename":"Query"}}');
    expect(connections.filter(answered).length).toBe(connections.length);
    expect(fresh.filter(answered).length).toBe(fresh.length);
    expect(await exit).toBe(0);
  });

  test('a client that never ends its request is cut off, and the server still stops in order', async () => {
    const server = await start(0);
    const slow = new Connection(server.url);
    slow.send(
      'POST /graphql HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{',
    );
    await once(slow.socket, 'connect');
    const response = httpRequest(new URL('/healthz', server.url), { agent: new Agent({ keepAlive: true }) });
    response.end();
    const [answer] = (await once(response, 'response')) as [IncomingMessage];
    answer.resume();
    expect(await server.end('SIGTERM')).toBe(0);
    await slow.closed;
    expect(server.output.join('\n')).not.toContain('Could not stop');
  });

  test('ends early with exit code 1 on a second signal', async () => {
    const server = await start(600_000);
    server.child.kill('SIGTERM');
    await eventually(async () => (await readyz(server)).status === 503);
    expect(await server.end('SIGINT')).toBe(1);
  });

  test('does not delay the stop of a server that is still starting', async () => {
    const silentDatabase = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silentDatabase, 'listening');
    const { port } = silentDatabase.address() as AddressInfo;
    const child = spawn(process.execPath, ['dist/main.js'], {
      env: {
        PATH: process.env.PATH,
        DATABASE_URL: `postgres://someone@127.0.0.1:${port}/x`,
        REDIS_URL: 'off',
        JWT_SECRET: SECRET,
        SHUTDOWN_DELAY_MS: '600000',
      },
      stdio: 'ignore',
    });
    const exited = once(child, 'exit');
    await once(silentDatabase, 'connection');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    silentDatabase.close();
  });

  test('cannot be negative or too long', () => {
    const valid = { DATABASE_URL: 'postgres://127.0.0.1/x', REDIS_URL: 'off', JWT_SECRET: SECRET };
    expect(readConfig(valid).http.shutdownDelayMs).toBe(0);
    for (const SHUTDOWN_DELAY_MS of ['-1', '600001', '5s']) {
      expect(() => readConfig({ ...valid, SHUTDOWN_DELAY_MS })).toThrow(/SHUTDOWN_DELAY_MS must be/);
    }
  });
});
