import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';

import { prepareFolder, startService, type EmbeddedService } from './embedded-service.js';
import { createCluster, ROLE } from './postgres-cluster.js';
import { findPostgresPrograms } from './postgres-programs.js';
import { withLock } from './lock.js';
import { processIdentity } from './owned-process.js';

/** A running PostgreSQL server. */
export interface PostgresService extends EmbeddedService {
  /** The address of the requested database. */
  readonly url: string;
}

export interface PostgresOptions {
  /** The folder for the server's files and log, created if missing. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
  /** Server settings, such as `{ fsync: 'off' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Created if missing; `flovo` by default. */
  readonly database?: string;
}

const READY_MS = 120_000;
/** The port was in use a moment ago, or processes of a dead server have not ended yet. */
const PASSING = /could not bind IPv4 address|pre-existing shared memory block/;

/**
 * Starts a PostgreSQL server on 127.0.0.1, or takes over the one that runs in its folder.
 * @throws Error if it cannot be started
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresService> {
  const { log, database = 'flovo' } = options;
  const dataDir = await prepareFolder(options.dataDir);
  const cluster = path.join(dataDir, 'cluster');
  const programs = await findPostgresPrograms(dataDir);
  await withLock(cluster, async () => {
    await createCluster(programs, cluster, log);
    await forgetDeadServer(cluster);
  });
  const settings = Object.entries({
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '200',
    // No client connects as a superuser, so no connections need be reserved for one.
    superuser_reserved_connections: '0',
    timezone: 'UTC',
    log_timezone: 'UTC',
    ...options.settings,
  }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const service = await startService({
    name: 'PostgreSQL',
    dataDir,
    settings,
    reuse: true,
    command: (port) => programs.run(programs.postgres, ['-D', cluster, '-p', String(port), ...settings]),
    answers: async (port) => await answers(port, cluster),
    readyMs: READY_MS,
    passing: PASSING,
    // A fast shutdown, then an immediate one; the next start recovers from that.
    stopSignals: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
  });
  await ensureDatabase(service.port, database);
  return { ...service, url: urlOf(service.port, database) };
}

/** Removes the pid file of a dead server. PostgreSQL would not start if another process now has that pid. */
async function forgetDeadServer(cluster: string): Promise<void> {
  const file = path.join(cluster, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  if (!(pid > 0) || processIdentity(pid) === undefined) return;
  const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'postgres');
  if (command.trim() !== 'postgres') await rm(file, { force: true });
}

const urlOf = (port: number, database: string): string => `postgres://${ROLE}@127.0.0.1:${port}/${database}`;

async function withConnection<T>(port: number, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const options = { max: 1, connect_timeout: 5, fetch_types: false, onnotice: () => undefined };
  const sql = postgres(urlOf(port, 'postgres'), options);
  return await work(sql).finally(async () => await sql.end({ timeout: 1 }));
}

/** Whether the server on that port accepts connections and is the one that runs on `cluster`. */
async function answers(port: number, cluster: string): Promise<boolean> {
  return await withConnection(port, async (sql) => {
    const [row] = await sql<{ folder: string }[]>`select current_setting('data_directory') as folder`;
    return row?.folder === cluster;
  }).catch(() => false);
}

async function ensureDatabase(port: number, database: string): Promise<void> {
  await withConnection(port, async (sql) => {
    const found = await sql`select 1 from pg_database where datname = ${database}`;
    if (found.length === 0) await sql`create database ${sql(database)}`;
  });
}
