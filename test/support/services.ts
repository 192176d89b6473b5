import { randomUUID } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import postgres from 'postgres';

import { startRedis, type RedisService } from '../../src/dev/services/redis.js';

export type { RedisService };

function required(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is set by test/support/global-setup.ts`);
  return value;
}

export interface TestDatabase {
  readonly url: string;
  /** A connection that no server uses, for writes from outside. */
  readonly sql: postgres.Sql;
  drop(): Promise<void>;
}

/** Creates a migrated, empty database, or one without any tables. */
export async function createDatabase({ migrated = true } = {}): Promise<TestDatabase> {
  const templateUrl = new URL(required('FLOVO_TEST_DATABASE_URL'));
  const adminUrl = new URL(templateUrl);
  adminUrl.pathname = '/postgres';
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = postgres(adminUrl.href, { max: 1, onnotice: () => {} });
  await admin.unsafe(
    `create database ${name} template ${migrated ? templateUrl.pathname.slice(1) : 'template0'}`,
  );
  const url = new URL(templateUrl);
  url.pathname = `/${name}`;
  const sql = postgres(url.href, { max: 4, onnotice: () => {} });
  // A copy of the template begins a new epoch. Do so now, and not while a test counts entries of the log.
  if (migrated) await sql`select renew_cache_epoch()`;
  return {
    url: url.href,
    sql,
    async drop() {
      await sql.end({ timeout: 5 });
      await admin.unsafe(`drop database if exists ${name} with (force)`);
      await admin.end({ timeout: 5 });
    },
  };
}

/** A new folder for the files of a Redis. */
export async function createRedisFolder(): Promise<string> {
  // Beside the test folder, not in it: the unpacked Redis package is looked for beside an instance's folder.
  return await mkdtemp(`${required('FLOVO_TEST_FOLDER')}-redis-`);
}

/** Starts a Redis that the test can kill and freeze, and must stop. */
export async function createRedis(
  options: { settings?: readonly string[]; port?: number; dataDir?: string } = {},
): Promise<RedisService> {
  const { dataDir = await createRedisFolder() } = options;
  return await startRedis({ log: () => {}, reuse: false, ...options, dataDir });
}
