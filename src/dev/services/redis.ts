import { readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { prepareFolder } from './data-folder.js';
import { withLock } from './lock.js';
import { freePort } from './ports.js';
import { OwnedProcess, POLL_MS, spawnService } from './process.js';
import { redisServerBinary } from './redis-binaries.js';
import { askRedis } from './redis-probe.js';
import { openServiceLog, type ServiceLog } from './service-log.js';

export { redisServerBinary, type RedisBinary } from './redis-binaries.js';

/** A running Redis server. */
export interface RedisService {
  readonly url: string;
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly pid: number;
  /** Whether the server was left running by an earlier owner, and found. */
  readonly reused: boolean;
  /** Shuts the server down and waits for it to end; once is enough. */
  readonly stop: () => Promise<void>;
  /** Ends the server with SIGKILL, as a crash would, and waits until it is gone. */
  readonly kill: () => Promise<void>;
  /** Halts the server with SIGSTOP: connections stay open, and nothing is answered. */
  readonly freeze: () => void;
  /** Lets a halted server go on. */
  readonly thaw: () => void;
}

export interface RedisOptions {
  /** The folder for the server's files and log, created if missing; one for each instance. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
  /** A free one by default. */
  readonly port?: number;
  /** More arguments of the server, such as `['--maxmemory', '64mb']`. */
  readonly settings?: readonly string[];
  /** Whether data outlives the server (append-only file); false by default. */
  readonly persistent?: boolean;
  /**
   * Whether to take over a server that an earlier owner left running on `dataDir` with the same settings; true by
   * default. One that is not taken over is stopped.
   */
  readonly reuse?: boolean;
}

interface Running {
  readonly process: OwnedProcess;
  readonly port: number;
}

/** What is recorded of a running server. */
interface State {
  readonly pid: number;
  readonly identity: string;
  readonly port: number;
  readonly settings: readonly string[];
}

/** How long a server may take until it answers, in milliseconds: loading its data is part of it. */
const READY_MS = 60_000;
/** How long a server that was left running may take to answer, in milliseconds. */
const ANSWER_MS = 5_000;
/** The second port of a cluster's node is its first one plus 10000. */
const CLUSTER_PORT_LIMIT = 55_536;

/**
 * Starts a Redis server of our own on 127.0.0.1, or takes over the one that already runs on `dataDir`. It goes on
 * running until `stop` or `kill`, even when this process ends.
 *
 * @throws if there is no Redis server to be had, or it cannot be started; the message holds the last lines of its
 * log, or says how to get one
 */
export async function startRedis(options: RedisOptions): Promise<RedisService> {
  const dataDir = await prepareFolder(options.dataDir);
  const stateFile = path.join(dataDir, 'redis.json');
  const settings = [
    '--appendonly',
    options.persistent === true ? 'yes' : 'no',
    '--save',
    '',
    ...(options.settings ?? []),
  ];
  return await withLock(path.join(dataDir, 'start.lock'), options.log, async () => {
    const earlier = await takeOver(stateFile, settings, options);
    if (earlier !== undefined) return service(earlier, stateFile, true);
    const running = await launchOnFreePort(dataDir, stateFile, settings, options);
    return service(running, stateFile, false);
  });
}

function service({ process: server, port }: Running, stateFile: string, reused: boolean): RedisService {
  let stopped: Promise<void> | undefined;
  return {
    url: `redis://127.0.0.1:${port}`,
    host: '127.0.0.1',
    port,
    pid: server.pid,
    reused,
    stop: () => (stopped ??= stop(server, stateFile)),
    kill: () => server.end([{ signal: 'SIGKILL', waitMs: 5_000 }]),
    freeze: () => server.signal('SIGSTOP'),
    thaw: () => server.signal('SIGCONT'),
  };
}

async function stop(server: OwnedProcess, stateFile: string): Promise<void> {
  // A halted server would not see the request to end.
  server.signal('SIGCONT');
  await server.end([
    { signal: 'SIGTERM', waitMs: 5_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ]);
  // A server that has been started on this folder since then has written the file anew.
  if (readState(stateFile)?.identity === server.identity) await rm(stateFile, { force: true });
}

/** The recorded server, if it runs, is as wanted and answers; otherwise there is none left afterwards. */
async function takeOver(
  stateFile: string,
  settings: readonly string[],
  { port, reuse = true, log }: RedisOptions,
): Promise<Running | undefined> {
  const state = readState(stateFile);
  if (state === undefined) return undefined;
  const server = OwnedProcess.recorded(state.pid, state.identity);
  if (server !== undefined) {
    const asWanted =
      reuse &&
      (port === undefined || port === state.port) &&
      JSON.stringify(settings) === JSON.stringify(state.settings);
    // Its last owner may have halted it.
    server.signal('SIGCONT');
    if (asWanted && (await becomesReady(server, state.port, ANSWER_MS)))
      return { process: server, port: state.port };
    log(`stopping the Redis server that was left running in ${path.dirname(stateFile)} (pid ${server.pid})`);
    await stop(server, stateFile);
  }
  await rm(stateFile, { force: true });
  return undefined;
}

function readState(file: string): State | undefined {
  try {
    const { pid, identity, port, settings } = JSON.parse(readFileSync(file, 'utf8')) as Partial<State>;
    if (typeof pid !== 'number' || typeof identity !== 'string' || typeof port !== 'number') return undefined;
    return { pid, identity, port, settings: settings ?? [] };
  } catch {
    return undefined;
  }
}

async function launchOnFreePort(
  dataDir: string,
  stateFile: string,
  settings: readonly string[],
  options: RedisOptions,
): Promise<Running> {
  const { command, env } = await redisServerBinary(options);
  const serverLog = openServiceLog(path.join(dataDir, 'redis.log'));
  try {
    for (let attempt = 1; ; attempt += 1) {
      serverLog.mark();
      const port =
        options.port ??
        (await freePort(settings.includes('--cluster-enabled') ? CLUSTER_PORT_LIMIT : undefined));
      const running = await launch(
        { command, env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C', ...env } },
        { dataDir, stateFile, port, settings, log: serverLog },
      );
      if (running !== undefined) return running;
      const lines = serverLog.tail();
      // Somebody else was given the port that was free a moment ago.
      const portTaken = /Address already in use|Failed listening on port/i.test(lines);
      if (!portTaken || options.port !== undefined || attempt >= 10) {
        throw new Error(`Redis ended while it was starting. The end of ${serverLog.file}:\n${lines}`);
      }
    }
  } finally {
    serverLog.close();
  }
}

/** Starts the server and waits until it answers; undefined if it ended before. */
async function launch(
  binary: { readonly command: string; readonly env: Record<string, string> },
  {
    dataDir,
    stateFile,
    port,
    settings,
    log,
  }: { dataDir: string; stateFile: string; port: number; settings: readonly string[]; log: ServiceLog },
): Promise<Running | undefined> {
  const server = await spawnService(
    {
      ...binary,
      cwd: dataDir,
      args: [
        '--bind',
        '127.0.0.1',
        '--port',
        String(port),
        '--daemonize',
        'no',
        '--dir',
        dataDir,
        ...settings,
      ],
    },
    log,
  );
  const state: State = { pid: server.pid, identity: server.identity, port, settings };
  // At once, so that a server whose owner dies right now is found by the next one.
  writeFileSync(stateFile, JSON.stringify(state));
  if (await becomesReady(server, port, READY_MS)) return { process: server, port };
  if (!server.isRunning()) {
    await rm(stateFile, { force: true });
    return undefined;
  }
  await stop(server, stateFile);
  throw new Error(`Redis did not become ready. The end of ${log.file}:\n${log.tail()}`);
}

/** Whether this server, and no other that has the port, answers within `timeoutMs` milliseconds. */
async function becomesReady(server: OwnedProcess, port: number, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (server.isRunning()) {
    const left = deadline - performance.now();
    if (left <= 0) return false;
    const answer = await askRedis(port, ['PING'], left).catch(() => '');
    if (answer === 'PONG') {
      const information = await askRedis(port, ['INFO', 'server'], left).catch(() => '');
      if (information.includes(`process_id:${server.pid}\r\n`)) return true;
    }
    // A server that demands a password cannot be asked more than that.
    if (answer.startsWith('-NOAUTH') && server.isRunning()) return true;
    await delay(POLL_MS);
  }
  return false;
}
