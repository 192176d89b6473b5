import { readFile, readdir, readlink, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { prepareFolder } from './data-folder.js';
import { withLock } from './lock.js';
import { freePort } from './ports.js';
import { databaseUrl, ensureDatabase, serves } from './postgres-client.js';
import { createCluster } from './postgres-cluster.js';
import { findPostgresHome, type PostgresHome } from './postgres-home.js';
import { commandLine, OwnedProcess, POLL_MS, spawnService } from './process.js';
import { openServiceLog, type ServiceLog } from './service-log.js';

/** A running PostgreSQL server. */
export interface PostgresService {
  /** The address of the database that was asked for. */
  readonly url: string;
  readonly port: number;
  /** Whether the server was left running by an earlier owner, and found. */
  readonly reused: boolean;
  /** Shuts the server down, ending its clients' connections, and waits for it to end; once is enough. */
  readonly stop: () => Promise<void>;
  /** Ends the server with SIGKILL, as a crash would, and waits until it and its backends are gone. */
  readonly kill: () => Promise<void>;
  readonly pid: number;
}

export interface PostgresOptions {
  /** The folder for the server's files and log, created if missing. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
  /** Server settings, such as `{ fsync: 'off' }`; a server that is reused keeps the ones it has. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Created if missing; `flovo` by default. Letters, digits, `_` and `-` only: not all clients decode URLs. */
  readonly database?: string;
}

interface Running {
  readonly process: OwnedProcess;
  readonly port: number;
}

/** How long a server may take until it answers, in milliseconds: recovery after a crash is part of it. */
const READY_MS = 120_000;
/** How long the backends of a dead server may take to end once they are told to, in milliseconds. */
const BACKENDS_MS = 10_000;

/**
 * Starts a PostgreSQL server of our own on 127.0.0.1, on a port chosen by the operating system, or takes over the
 * one that already runs on `dataDir`. It goes on running until `stop` or `kill`, even when this process ends.
 *
 * @throws if it cannot be started, or `database` is no such name; the message holds the last lines of its log
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresService> {
  const { log, settings = {}, database = 'flovo' } = options;
  if (!/^[\w-]+$/.test(database)) throw new Error(`Not a database name that fits in a URL: ${database}`);
  const dataDir = await prepareFolder(options.dataDir);
  return await withLock(path.join(dataDir, 'start.lock'), log, async () => {
    const home = await findPostgresHome(dataDir, log);
    const earlier = await findRunning(home.cluster);
    const running = earlier ?? (await createAndLaunch(home, dataDir, settings, log));
    try {
      await ensureDatabase(running.port, database);
    } catch (error) {
      if (earlier === undefined) await stop(running.process);
      throw error;
    }
    return service(running, home, database, earlier !== undefined);
  });
}

function service(
  { process: server, port }: Running,
  { cluster }: PostgresHome,
  database: string,
  reused: boolean,
): PostgresService {
  let stopped: Promise<void> | undefined;
  return {
    url: databaseUrl(port, database),
    port,
    reused,
    pid: server.pid,
    stop: () => (stopped ??= stop(server)),
    async kill() {
      await server.end([{ signal: 'SIGKILL', waitMs: 5_000 }]);
      await clearBackends(cluster, 0);
    },
  };
}

/** A fast shutdown; then an immediate one, which the next start recovers from; then the end. */
async function stop(server: OwnedProcess): Promise<void> {
  await server.end([
    { signal: 'SIGINT', waitMs: 15_000 },
    { signal: 'SIGQUIT', waitMs: 5_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ]);
}

/**
 * The server that runs on this cluster, ready for queries; one that is shutting down is waited for.
 *
 * @returns undefined if there is none, with any trace that would keep a new one from starting removed
 */
async function findRunning(cluster: string): Promise<Running | undefined> {
  const pidFile = path.join(cluster, 'postmaster.pid');
  const recorded = await readPidFile(pidFile);
  if (recorded === undefined) return undefined;
  const server = OwnedProcess.now(recorded.pid);
  if (server === undefined || !runsOn(server, cluster)) {
    // PostgreSQL would take a zombie, or whatever process has that pid by now, for a running server.
    await clearBackends(cluster, 2_000);
    await rm(pidFile, { force: true });
    return undefined;
  }
  const deadline = performance.now() + READY_MS;
  while (server.isRunning()) {
    const port = (await readPidFile(pidFile))?.port;
    if (port !== undefined && (await serves(port, cluster))) return { process: server, port };
    if (performance.now() > deadline) {
      throw new Error(`The PostgreSQL server that runs on ${cluster} (pid ${server.pid}) does not answer.`);
    }
    await delay(POLL_MS);
  }
  return await findRunning(cluster);
}

function runsOn(server: OwnedProcess, cluster: string): boolean {
  const words = commandLine(server.pid);
  // Where command lines are hidden, the pid is all there is to go by; a wrong guess ends in an error, not a signal.
  return words.length === 0 || `${words.join(' ')} `.includes(`-D ${cluster} `);
}

/** The pid and, once it is known, the port of the server that wrote the file. */
async function readPidFile(file: string): Promise<{ pid: number; port: number | undefined } | undefined> {
  const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n');
  const pid = Number.parseInt(lines[0] ?? '', 10);
  const port = Number.parseInt(lines[3] ?? '', 10);
  if (!(pid > 0)) return undefined;
  return { pid, port: port > 0 ? port : undefined };
}

/**
 * Makes sure that no backend of a server that died is left on the cluster: it would go on with its statement and
 * must not meet a new server. One that has not ended by itself after `graceMs` milliseconds is ended, which is safe
 * because the next start recovers from a crash anyway. (Only Linux shows whose backend a process is; elsewhere
 * PostgreSQL's own check has to do.)
 */
async function clearBackends(cluster: string, graceMs: number): Promise<void> {
  if (process.platform !== 'linux') return;
  const start = performance.now();
  for (;;) {
    const left = await findBackends(cluster);
    if (left.length === 0) return;
    const waited = performance.now() - start;
    if (waited > graceMs) left.forEach((backend) => backend.signal('SIGKILL'));
    if (waited > graceMs + BACKENDS_MS) {
      const pids = left.map(({ pid }) => pid).join(', ');
      throw new Error(
        `The PostgreSQL server on ${cluster} died, but processes of it still run (pid ${pids}).`,
      );
    }
    await delay(POLL_MS);
  }
}

async function findBackends(cluster: string): Promise<OwnedProcess[]> {
  const found: OwnedProcess[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // Its identity first: should the pid become another process's meanwhile, that one is not signalled.
    const candidate = OwnedProcess.now(Number(name));
    if (candidate !== undefined && (await isBackend(name, cluster))) found.push(candidate);
  }
  return found;
}

async function isBackend(pid: string, cluster: string): Promise<boolean> {
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  if (folder !== cluster) return false;
  // Somebody's shell may be in that folder too.
  return (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() === 'postgres';
}

async function createAndLaunch(
  home: PostgresHome,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Promise<Running> {
  await createCluster(home, log);
  const serverLog = openServiceLog(path.join(dataDir, 'postgres.log'));
  try {
    for (let attempt = 1; ; attempt += 1) {
      serverLog.mark();
      const running = await launch(home, settings, serverLog);
      if (running !== undefined) return running;
      const lines = serverLog.tail();
      // Somebody else was given the port that was free a moment ago.
      const portTaken = lines.includes('could not bind IPv4 address');
      if (!portTaken || attempt >= 10) {
        throw new Error(`PostgreSQL ended while it was starting. The end of ${serverLog.file}:\n${lines}`);
      }
    }
  } finally {
    serverLog.close();
  }
}

/** Starts the server and waits until it answers; undefined if it ended before. */
async function launch(
  home: PostgresHome,
  settings: Readonly<Record<string, string>>,
  log: ServiceLog,
): Promise<Running | undefined> {
  const port = await freePort();
  const all: Record<string, string> = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    // Nobody can connect as a superuser, so no connections need be kept for one.
    superuser_reserved_connections: '0',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...settings,
    port: String(port),
  };
  const args = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = await spawnService(home.run(home.programs.postgres, ['-D', home.cluster, ...args]), log);
  const deadline = performance.now() + READY_MS;
  while (server.isRunning()) {
    if (await serves(port, home.cluster)) return { process: server, port };
    if (performance.now() > deadline) {
      await stop(server);
      throw new Error(`PostgreSQL did not become ready. The end of ${log.file}:\n${log.tail()}`);
    }
    await delay(POLL_MS);
  }
  return undefined;
}
