import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import postgres from 'postgres';

import { readConfig } from '../../src/config.js';
import { BotDocument, BotsDocument, MeDocument } from '../generated/graphql.js';
import { addBots, addOrganization, addUser, SECRET } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { askUntil } from './fixture.js';

/** Runs the program of `npm run serve` with this environment alone, until it exits. */
async function runToEnd(
  environment: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [path.join(process.cwd(), 'dist/main.js')], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

describe('an invalid environment stops the start', () => {
  test('and all missing variables are named together', async () => {
    const { code, output } = await runToEnd({});
    expect(code).toBe(1);
    for (const name of ['DATABASE_URL', 'REDIS_URL', 'JWT_SECRET'])
      expect(output).toMatch(new RegExp(`^ +${name} `, 'm'));
    expect(output).not.toMatch(/\bat .*\.js/);
  });

  test('and all mistakes are named together: wrong, missing and contradictory variables', async () => {
    const wrong = {
      NODE_ENV: 'production',
      PORT: '65536',
      DATABASE_POOL_MAX: 'many',
      REDIS_URL: 'http://localhost',
      REDIS_TIMEOUT_MS: '0',
      CACHE_PREFIX: 'a{b}',
      CACHE_TTL_BOT: '301',
      CACHE_TTL_DETAILS: '301',
      CACHE_TTL_STATS: '61',
      CACHE_TTL_LIST: '181',
      CACHE_TTL_ORG: '601',
      CACHE_TTL_ORG_STATS: '61',
      LOG_LEVEL: 'loud',
      JWT_SECRET: 'a-short-secret',
      JWKS_URL: 'http://keys.example/jwks.json',
      OPERATOR_TOKEN: 'a-short-token',
    };
    const { code, output } = await runToEnd(wrong);
    expect(code).toBe(1);
    const named = [...output.matchAll(/^ +([A-Z_]+) \S/gm)].map(([, name]) => name);
    const { NODE_ENV: _, ...mistakes } = wrong;
    expect(new Set(named)).toEqual(
      new Set([...Object.keys(mistakes), 'DATABASE_URL', 'JWT_ISSUER', 'JWT_AUDIENCE']),
    );
    expect(output).not.toMatch(/a-short-(secret|token)/);
  });

  test.each([
    ['the TTL of a bot', 'CACHE_TTL_BOT', '0'],
    ['a port', 'PORT', '-1'],
    ['a port in words', 'PORT', 'http'],
    ['a Sentinel without a master', 'REDIS_URL', 'redis+sentinel://localhost:26379'],
    ['the switch of the playground', 'PLAYGROUND', 'yes'],
    ['a database', 'DATABASE_URL', 'mysql://localhost/flovo'],
    ['a secret that is too short', 'JWT_SECRET', 'x'.repeat(31)],
    ['a token that no header can hold', 'OPERATOR_TOKEN', 'x'.repeat(32) + '\n'],
    ['nodes of a cluster', 'REDIS_CLUSTER_NODES', 'localhost:7000,,localhost'],
    ['a prefix', 'CACHE_PREFIX', 'a*'],
  ])('and only the wrong value of %s is named: %s=%s', (_what, name, value) => {
    const good = {
      NODE_ENV: 'production',
      DATABASE_URL: 'postgres://127.0.0.1/x',
      REDIS_URL: 'off',
      JWT_SECRET: SECRET,
    };
    expect(readConfig(good)).toMatchObject({ production: true });
    let message = '';
    try {
      readConfig({ ...good, [name]: value });
    } catch (error) {
      message = (error as Error).message;
    }
    expect([...message.matchAll(/^ +([A-Z_]+) \S/gm)].map(([, each]) => each)).toEqual([name]);
  });
});

describe('the server as a process', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let orgId: string;
  let botId: string;
  let token: string;
  const servers: ServerProcess[] = [];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    botId = (await addBots(database.sql, orgId, 1))[0] as string;
    ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
  });

  afterAll(async () => {
    await Promise.all(servers.map(async (server) => await server.end('SIGKILL')));
    await redis?.stop();
    await database?.drop();
  });

  const start = async (settings: Record<string, string> = {}) => {
    const server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      ...settings,
    });
    servers.push(server);
    return server;
  };

  test('masks an unexpected error, and logs its cause with the request id that the client gets', async () => {
    const withPassword = new URL(database.url);
    withPassword.password = 'the-database-password';
    const server = await start({
      DATABASE_URL: withPassword.href,
      // Redis is unreachable: the log entry about it must not contain the password either.
      REDIS_URL: 'redis://someone:the-redis-password@127.0.0.1:1',
      LOG_LEVEL: 'trace',
    });
    await database.sql`alter table bots rename to bots_elsewhere`;
    try {
      const response = await fetch(server.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${token}`,
          'x-request-id': 'request-7',
        },
        body: JSON.stringify({
          query: 'query Failing($org: ID!, $s: String) { bots(orgId: $org, search: $s) { total } }',
          variables: { org: orgId, s: 'a-private-text' },
        }),
      });
      const text = await response.text();
      expect(response.headers.get('x-request-id')).toBe('request-7');
      expect(JSON.parse(text)).toEqual({
        data: null,
        errors: [
          {
            message: 'Internal server error',
            path: ['bots'],
            locations: expect.any(Array),
            extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'request-7' },
          },
        ],
      });
      const logged = await askUntil(
        async () => await Promise.resolve(server.output.filter((line) => line.includes('request-7'))),
        (lines) => lines.length > 0,
      );
      expect(logged).toHaveLength(1);
      expect(JSON.parse(logged[0] ?? '{}')).toMatchObject({
        level: 50,
        requestId: 'request-7',
        operation: 'Failing',
      });
      expect(logged[0]).toContain('relation \\"bots\\" does not exist');
    } finally {
      await database.sql`alter table bots_elsewhere rename to bots`;
    }
    // The server continues to serve.
    expect((await server.client(token).ask(BotDocument, { id: botId })).bot?.id).toBe(botId);
    expect(await server.end('SIGTERM')).toBe(0);
    const output = server.output.join('\n');
    expect(output).toContain('Redis unavailable');
    for (const secret of [token, SECRET, 'the-database-password', 'the-redis-password', 'a-private-text']) {
      expect(output).not.toContain(secret);
    }
    for (const line of server.output) expect(() => JSON.parse(line) as unknown).not.toThrow();
  });

  /** Blocks statements on bots until the lock is released. */
  async function lockBots(): Promise<() => Promise<void>> {
    const connection = await database.sql.reserve();
    await connection.unsafe('begin; lock table bots in access exclusive mode');
    return async () => {
      await connection.unsafe('rollback');
      connection.release();
    };
  }

  const waitingStatements = async () =>
    Number(
      (
        await database.sql`select count(*) from pg_stat_activity
          where datname = current_database() and wait_event_type = 'Lock'`
      )[0]?.count,
    );

  /** Whether the server accepts connections. */
  const accepts = async (server: ServerProcess) =>
    await new Promise<boolean>((resolve) => {
      const { hostname, port } = new URL(server.url);
      const socket = connect(Number(port), hostname);
      socket.on('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'on %s accepts no more connections, answers pending requests, and exits with 0',
    async (signal) => {
      const server = await start();
      // Leaves an idle connection open, which must not delay the stop.
      await server.client(token).ask(MeDocument, {});
      const release = await lockBots();
      const underWay = [
        server.client(token).send(BotsDocument, { orgId, search: signal }),
        server.client(token).send(BotsDocument, { orgId, search: `bot ${signal}` }),
      ];
      await askUntil(waitingStatements, (count) => count >= 2);
      const exit = server.end(signal);
      const accepting = await askUntil(
        async () => await accepts(server),
        (still) => !still,
      );
      expect(accepting).toBe(false);
      expect(server.child.exitCode).toBeNull();
      await release();
      for (const answer of await Promise.all(underWay)) {
        expect(answer).toMatchObject({ status: 200, data: { bots: { total: 0 } } });
      }
      expect(await exit).toBe(0);
    },
  );

  test('exits at once with 1 on a second signal', async () => {
    const server = await start();
    const release = await lockBots();
    const underWay = server
      .client(token)
      .send(BotsDocument, { orgId, search: 'second' })
      .then(
        () => 'answered',
        () => 'cut off',
      );
    await askUntil(waitingStatements, (count) => count >= 1);
    server.child.kill('SIGTERM');
    await askUntil(
      async () => await accepts(server),
      (still) => !still,
    );
    expect(await server.end('SIGTERM')).toBe(1);
    expect(await underWay).toBe('cut off');
    await release();
  });
});

test('several servers that start at once migrate one empty database together', async () => {
  const template = new URL(process.env.FLOVO_TEST_DATABASE_URL ?? '');
  const admin = postgres(new URL('/postgres', template).href, { max: 1, onnotice: () => {} });
  const name = `empty_${process.pid}_${Date.now()}`;
  await admin.unsafe(`create database ${name}`);
  const url = new URL(template);
  url.pathname = `/${name}`;
  const starting = Array.from(
    { length: 3 },
    async () => await startServerProcess({ DATABASE_URL: url.href, REDIS_URL: 'off' }),
  );
  try {
    const servers = await Promise.all(starting);
    for (const server of servers) {
      const response = await fetch(new URL('/readyz', server.url));
      expect(await response.json()).toMatchObject({ ready: true, migrated: true });
    }
    const sql = postgres(url.href, { max: 1 });
    const { entries } = JSON.parse(readFileSync('drizzle/meta/_journal.json', 'utf8')) as {
      entries: unknown[];
    };
    const rows = await sql`select 1 from drizzle.__drizzle_migrations`.finally(async () => await sql.end());
    expect(rows).toHaveLength(entries.length);
    const migrated = servers.flatMap(({ output }) => output.filter((line) => line.includes('"migrations"')));
    expect(migrated).toHaveLength(1);
  } finally {
    for (const server of await Promise.allSettled(starting)) {
      if (server.status === 'fulfilled') await server.value.end('SIGTERM');
    }
    await admin.unsafe(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
});
