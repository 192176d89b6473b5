import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import getPort from 'get-port';

import { eventually } from './eventually.js';

const PROGRAM = '/usr/sbin/haproxy';

export interface HaProxy {
  /** The URL of the GraphQL endpoint, through HAProxy. */
  readonly url: string;
  /** Whether HAProxy sends requests to a server at the moment; servers are counted from 0. */
  isUp(server: number): Promise<boolean>;
  stop(): Promise<void>;
}

/**
 * The settings that `docs/operations.md` recommends, with two changes: checks are more frequent, so that tests are short, and
 * there are no retries, so that tests see every failure.
 */
const configuration = (ports: { front: number; statistics: number; servers: readonly number[] }): string => `
global
  maxconn 2000
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout http-keep-alive 60s
  timeout check 5s
  retries 0
frontend front
  bind 127.0.0.1:${ports.front}
  default_backend servers
backend servers
  balance roundrobin
  http-reuse always
  option httpchk GET /readyz
  http-check expect status 200
  default-server check inter 500ms fastinter 50ms fall 2 rise 1
${ports.servers.map((port, i) => `  server server${i} 127.0.0.1:${port}`).join('\n')}
frontend statistics
  bind 127.0.0.1:${ports.statistics}
  stats enable
  stats uri /
`;

/** Runs HAProxy in front of servers on this machine. They need not listen yet. */
export async function startHaProxy(servers: readonly number[]): Promise<HaProxy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flovo-haproxy-'));
  const [front, statistics] = [await getPort(), await getPort()];
  const file = path.join(folder, 'haproxy.cfg');
  await writeFile(file, configuration({ front, statistics, servers }));
  // -db: in the foreground, as one process.
  const child = spawn(PROGRAM, ['-db', '-f', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit');
  const said: string[] = [];
  child.stderr.on('data', (text: Buffer) => said.push(text.toString()));
  const state = async (server: number) => {
    const table = await (await fetch(`http://127.0.0.1:${statistics}/;csv`)).text();
    const rows = table.split('\n').map((line) => line.split(','));
    const row = rows.find(([group, name]) => group === 'servers' && name === `server${server}`);
    return row?.[rows[0]?.indexOf('status') ?? -1];
  };
  await eventually(async () => {
    if (child.exitCode !== null) throw new Error(`HAProxy ended:\n${said.join('')}`);
    return (await state(0)) !== undefined;
  });
  return {
    url: `http://127.0.0.1:${front}/graphql`,
    isUp: async (server) => ((await state(server)) ?? '').startsWith('UP'),
    async stop() {
      child.kill('SIGKILL');
      await exited;
      await rm(folder, { recursive: true });
    },
  };
}
