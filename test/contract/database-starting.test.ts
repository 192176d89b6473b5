import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import postgres from 'postgres';

import { startPostgres } from '../../src/dev/services/postgres.js';
import { eventually } from '../support/eventually.js';
import { SECRET } from '../support/people.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const closers: (() => unknown)[] = [];

/** Starts the compiled server, and returns the lines that it has written so far. */
function serve(databaseUrl: string): readonly string[] {
  const settings = { DATABASE_URL: databaseUrl, REDIS_URL: 'off', JWT_SECRET: SECRET, PORT: '0' };
  const child = spawn(process.execPath, ['dist/main.js'], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => lines.push(text));
  closers.push(async () => {
    if (child.kill('SIGKILL')) await once(child, 'exit');
  });
  return lines;
}

/** Starts a PostgreSQL that refuses connections, because it is starting up, until it is promoted. */
async function startRecovery(): Promise<{ url: string; promote: () => Promise<void> }> {
  const dataDir = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-postgres-`);
  const start = async (settings: Record<string, string>) =>
    await startPostgres({ dataDir, log: () => {}, settings: { fsync: 'off', ...settings } });
  await (await start({})).stop();
  const file = async (name: string) => {
    const at = path.join(dataDir, 'cluster', name);
    await writeFile(at, '');
    // PostgreSQL runs as another user, and opens the file for writing.
    await chmod(at, 0o666);
  };
  await file('standby.signal');
  const promoted = start({ hot_standby: 'off' });
  closers.push(async () => await (await promoted).stop());
  const { port, pid } = await eventually(async () => {
    const state = JSON.parse(await readFile(path.join(dataDir, 'server.json'), 'utf8')) as Record<
      'port' | 'pid',
      number
    >;
    const sql = postgres(`postgres://flovo@127.0.0.1:${state.port}/flovo`, { max: 1 });
    const code = await sql`select 1`.catch((error: { code?: string }) => error.code);
    await sql.end({ timeout: 0 });
    return code === '57P03' && state;
  });
  return {
    url: `postgres://flovo@127.0.0.1:${port}/flovo`,
    async promote() {
      await file('promote');
      process.kill(pid, 'SIGUSR1');
      await promoted;
    },
  };
}

test('a server waits for a PostgreSQL that does not listen yet and then starts up, says so, and serves', async () => {
  try {
    const recovery = await startRecovery();
    const proxy = await TcpProxy.before(recovery.url);
    closers.push(() => proxy.close());
    proxy.refuse();
    const lines = serve(proxy.url);
    const said = async (text: string) => await eventually(() => lines.join('').includes(text));
    await said('no PostgreSQL answers (ECONNREFUSED). Trying again for at most 15 s.');
    await proxy.resume();
    await said('is still starting up (57P03). Trying again for at most 30 s.');
    await recovery.promote();
    await said('"msg":"Serving"');
    expect(lines.join('')).toContain('"msg":"Migrated the database"');
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}, 60_000);
