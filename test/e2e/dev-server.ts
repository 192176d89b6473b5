import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, symlink } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';

/** Creates a data folder, as `DATA_DIR` of a development server. */
export async function createDataDir(): Promise<string> {
  const folder = process.env.FLOVO_TEST_FOLDER ?? '';
  const dataDir = await mkdtemp(path.join(folder, 'dev-'));
  // Reuse the Redis that was downloaded for the tests.
  const downloaded = path.join(path.dirname(folder), 'redis-server');
  if (existsSync(downloaded)) await symlink(downloaded, path.join(dataDir, 'redis-server'));
  return dataDir;
}

export interface DevServer {
  readonly pid: number;
  /** The lines that the server has printed. */
  readonly output: readonly string[];
  /** The introduction that it prints when it is ready. */
  readonly url: string;
  readonly token: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  /** The document of the first query that it prints. */
  readonly firstQuery: string;
  /** Sends a signal and waits for the exit. Returns the exit code, null after a deadly signal. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

function startProcess(dataDir: string, settings: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--enable-source-maps', 'dist/dev/start.js'], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR: dataDir, PORT: '0', ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  const listeners = new Set<(line: string) => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      output.push(line);
      listeners.forEach((listener) => listener(line));
    });
  }
  const closed = once(child, 'close') as Promise<[number | null]>;
  return {
    child,
    output,
    closed,
    /** Waits for a line; rejects if the process exits before. */
    async line(pattern: RegExp): Promise<void> {
      const seen = new Promise<void>((resolve) => {
        listeners.add((line) => pattern.test(line) && resolve());
        if (output.some((line) => pattern.test(line))) resolve();
      });
      const ended = closed.then(([code]) => {
        throw new Error(`The server ended with ${code}:\n${output.join('\n')}`);
      });
      await Promise.race([seen, ended]);
      ended.catch(() => undefined);
    },
    async end(signal: NodeJS.Signals): Promise<number | null> {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      const [code] = await closed;
      return code;
    },
  };
}

/** Starts the development server as `npm start` does, and waits until it is ready. */
export async function startDevServer(dataDir: string): Promise<DevServer> {
  const server = startProcess(dataDir);
  await server.line(/Stop with Ctrl-C/);
  const text = server.output.join('\n');
  const find = (pattern: RegExp): string => {
    const [, found] = pattern.exec(text) ?? [];
    if (found === undefined) throw new Error(`${pattern.source} is not in what the server printed:\n${text}`);
    return found;
  };
  const body = JSON.parse(find(/^ +-d '(.*)'$/m)) as { query: string };
  return {
    pid: server.child.pid ?? -1,
    output: server.output,
    url: find(/GraphQL and playground +(\S+)/),
    token: find(/^(eyJ\S+)$/m),
    databaseUrl: find(/(postgres:\S+)/),
    redisUrl: find(/(redis:\S+)/),
    firstQuery: body.query,
    end: async (signal) => await server.end(signal),
  };
}

/** Starts the development server, and ends it with a signal as soon as it prints a line. Returns its exit code. */
export async function interruptStart(
  dataDir: string,
  at: RegExp,
  signal: NodeJS.Signals,
): Promise<number | null> {
  const server = startProcess(dataDir);
  await server.line(at);
  return await server.end(signal);
}

/** Runs the development server until it exits by itself. */
export async function runDevServer(
  dataDir: string,
  settings: Record<string, string> = {},
): Promise<{ code: number | null; output: string }> {
  const server = startProcess(dataDir, settings);
  const [code] = await server.closed;
  return { code, output: server.output.join('\n') };
}

/** Whether a URL's host and port accept connections. */
export async function isListening(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return await new Promise<boolean>((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** The command lines of running processes that name a data folder; empty on systems without /proc. */
export async function processesOf(dataDir: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir('/proc').catch(() => [])) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const command = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    if (command.includes(dataDir)) found.push(command.replaceAll('\0', ' '));
  }
  return found;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function runToEnd(command: string, args: readonly string[], dataDir: string): Promise<Ended> {
  const home = path.join(dataDir, 'home');
  await mkdir(home, { recursive: true });
  const child = spawn(command, args, {
    env: { PATH: process.env.PATH, HOME: home, DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/** Runs `npm run --silent token -- EMAIL`. */
export const askForToken = async (dataDir: string, email: string): Promise<Ended> =>
  await runToEnd('npm', ['run', '--silent', 'token', '--', email], dataDir);

/** Runs the compiled program of `npm run token`. */
export const runTokenProgram = async (dataDir: string, email: string): Promise<Ended> =>
  await runToEnd(process.execPath, ['dist/dev/token.js', email], dataDir);
