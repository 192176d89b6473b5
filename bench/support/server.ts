import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { JWT_SECRET } from '../data/standard.js';
import type { Contender } from '../servers/contenders.js';
import type { Counters, ServerMessage } from '../servers/report.js';
import { countersIn } from './metrics.js';

/** How to run a server process. */
export interface ServerOptions {
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Options of Node, such as `--cpu-prof`. */
  readonly execArgv?: readonly string[];
}

/** A running server under test. */
export interface Server {
  readonly contender: Contender;
  /** The GraphQL endpoint. */
  readonly url: string;
  readonly pid: number;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  counters(): Promise<Counters>;
  /** Ends the process and waits for it. */
  stop(): Promise<void>;
}

const POOL_MAX = '10';
const START_MS = 30_000;
const ROOT = process.cwd();

/** Starts a server as a process of its own and waits until it listens. */
export async function startServer(contender: Contender, options: ServerOptions): Promise<Server> {
  const child = fork(path.resolve(ROOT, 'dist-bench', contender.entry), {
    cwd: ROOT,
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      NODE_ENV: 'production',
      LOG_LEVEL: 'info',
      RATE_LIMIT_PER_SECOND: '0',
      JWT_SECRET,
      DATABASE_URL: options.databaseUrl,
      DATABASE_POOL_MAX: POOL_MAX,
      REDIS_URL: options.redisUrl,
      ...contender.env,
      ...options.env,
    },
    execArgv: [...(options.execArgv ?? [])],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const url = await listening(child, contender.title);
  const counters = contender.role === 'ours' ? fromMetrics(url) : fromMessages(child);
  return {
    contender,
    url,
    pid: child.pid ?? -1,
    databaseUrl: options.databaseUrl,
    redisUrl: options.redisUrl,
    counters,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      const deadline = setTimeout(() => child.kill('SIGKILL'), 5_000);
      await exited;
      clearTimeout(deadline);
    },
  };
}

/** The URL that the process reports: by message, or in its log, as our server does. */
async function listening(child: ChildProcess, title: string): Promise<string> {
  const output: string[] = [];
  return await new Promise<string>((resolve, reject) => {
    const deadline = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`${title} does not listen:\n${output.join('\n')}`));
    }, START_MS);
    const settle = (url: string) => {
      clearTimeout(deadline);
      resolve(url);
    };
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on('line', (line) => {
        output.push(line);
        if (output.length > 50) output.shift();
        const [, served] = /"url":"([^"]+)".*"msg":"Serving"/.exec(line) ?? [];
        if (served !== undefined) settle(served);
      });
    }
    child.on('message', (message: ServerMessage) => {
      if (message.kind === 'listening') settle(message.url);
    });
    child.once('exit', (code) => {
      clearTimeout(deadline);
      reject(new Error(`${title} ended with ${code}:\n${output.join('\n')}`));
    });
  });
}

const fromMessages = (child: ChildProcess) => async (): Promise<Counters> =>
  await new Promise<Counters>((resolve) => {
    const onMessage = (message: ServerMessage) => {
      if (message.kind !== 'counters') return;
      child.off('message', onMessage);
      resolve(message.counters);
    };
    child.on('message', onMessage);
    child.send('counters');
  });

/** Our server reports these counts in its metrics. */
const fromMetrics = (url: string) => async (): Promise<Counters> =>
  countersIn(await (await fetch(new URL('/metrics', url))).text());
