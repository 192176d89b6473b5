import { appendFile, mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';

import { startPostgres, type PostgresService } from '../../src/dev/services/postgres.js';
import { eventually } from '../support/eventually.js';
import type { TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { serverModule } from './imports/server-module.js';

/**
 * A PostgreSQL of the run's own that can be restarted. A restart changes its port, so all clients connect through a proxy
 * whose port stays.
 */
export class PostgresHost implements TestDatabase {
  private constructor(
    private service: PostgresService,
    private readonly folder: string,
    private readonly proxy: TcpProxy,
    readonly sql: postgres.Sql,
    private readonly settings: Readonly<Record<string, string>>,
  ) {}

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<PostgresHost> {
    const { FLOVO_TEST_FOLDER: testFolder = '' } = process.env;
    const folder = await mkdtemp(`${testFolder}-postgres-`);
    const service = await launch(folder, settings);
    const { migrateDatabase } = await serverModule<typeof import('../../src/db/migrate.js')>('db/migrate');
    await migrateDatabase(service.url);
    const proxy = await TcpProxy.before(service.url);
    const sql = postgres(proxy.url, { max: 4, onnotice: () => {}, connect_timeout: 2 });
    return new PostgresHost(service, folder, proxy, sql, settings);
  }

  /** Runs statements as the superuser, on one connection. */
  async asSuperuser<Result>(work: (sql: postgres.Sql) => Promise<Result>): Promise<Result> {
    await appendFile(path.join(this.files, 'pg_hba.conf'), 'host all postgres 127.0.0.1/32 trust\n');
    process.kill(this.service.pid, 'SIGHUP');
    const url = new URL(this.service.url);
    url.username = 'postgres';
    const sql = postgres(url.href, { max: 1, onnotice: () => {}, fetch_types: false });
    try {
      await eventually(async () => await sql`select 1`);
      return await work(sql);
    } finally {
      await sql.end({ timeout: 1 });
    }
  }

  get url(): string {
    return this.proxy.url;
  }

  /** The process that starts all others of PostgreSQL. */
  get pid(): number {
    return this.service.pid;
  }

  /** The folder of the database's files. */
  get files(): string {
    return path.join(this.folder, 'postgres', 'cluster');
  }

  /**
   * Shuts PostgreSQL down or kills it, and starts it again after `downMs`.
   * @param meanwhile changes its files
   */
  async restart(how: 'stop' | 'kill', downMs: number, meanwhile?: () => Promise<void>): Promise<void> {
    await this.service[how]();
    await new Promise((resolve) => setTimeout(resolve, downMs));
    await meanwhile?.();
    this.service = await launch(this.folder, this.settings);
    this.proxy.retarget(this.service.url);
  }

  async drop(): Promise<void> {
    await this.sql.end({ timeout: 1 });
    this.proxy.close();
    await this.service.stop();
  }
}

const launch = async (folder: string, settings: Readonly<Record<string, string>>): Promise<PostgresService> =>
  await startPostgres({
    dataDir: path.join(folder, 'postgres'),
    log: () => {},
    // Commits survive a crash of PostgreSQL, though not of the machine.
    settings: { fsync: 'off', full_page_writes: 'off', max_connections: '300', ...settings },
  });
