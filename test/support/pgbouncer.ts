import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import getPort from 'get-port';

import { eventually } from './eventually.js';

const PROGRAM = '/usr/sbin/pgbouncer';
/** PgBouncer refuses to run as root. */
const NOBODY = 65_534;

export interface PgBouncer {
  /** The database's URL, through PgBouncer. */
  readonly url: string;
  stop(): Promise<void>;
}

/**
 * Runs PgBouncer in transaction mode in front of a database.
 * @param settings lines of its section `pgbouncer`, beside the mode
 */
export async function startPgBouncer(
  databaseUrl: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<PgBouncer> {
  const target = new URL(databaseUrl);
  const folder = await mkdtemp(path.join(tmpdir(), 'flovo-pgbouncer-'));
  await chmod(folder, 0o755);
  const port = await getPort();
  const file = path.join(folder, 'pgbouncer.ini');
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: String(port),
    unix_socket_dir: '',
    auth_type: 'any',
    pool_mode: 'transaction',
    default_pool_size: '8',
    ...settings,
  };
  await writeFile(
    file,
    [
      '[databases]',
      `* = host=${target.hostname} port=${target.port} user=${target.username}`,
      '[pgbouncer]',
      ...Object.entries(lines).map(([name, value]) => `${name} = ${value}`),
      '',
    ].join('\n'),
    { mode: 0o644 },
  );
  const isRoot = process.geteuid?.() === 0;
  const child = spawn(PROGRAM, [file], {
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
  });
  const exited = once(child, 'exit');
  const said: string[] = [];
  child.stderr.on('data', (text: Buffer) => said.push(text.toString()));
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${port}`;
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`PgBouncer ended:\n${said.join('')}`);
    const sql = postgres(url.href, { max: 1, prepare: false, fetch_types: false, connect_timeout: 1 });
    await sql`select 1`.finally(async () => await sql.end({ timeout: 1 }));
  });
  return {
    url: url.href,
    async stop() {
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}
