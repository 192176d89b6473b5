import { mkdir, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import path from 'node:path';

import { startPostgres, type PostgresService } from '../../src/dev/services/postgres.js';
import { startRedis, type RedisService } from '../../src/dev/services/redis.js';

const ROOT = process.cwd();

/**
 * Settings that keep the disk out of the figures: all servers use the same PostgreSQL, and the cost of a commit on this
 * machine's disk is not compared.
 */
const WITHOUT_DISK = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum: 'off' };

/** A scratch folder of this run, with a PostgreSQL and any number of Redis servers. */
export interface Services {
  readonly postgres: PostgresService;
  /** Starts PostgreSQL anew on the same data with other settings; {@link postgres} is then the new one. */
  restartPostgres(settings: Readonly<Record<string, string>>): Promise<void>;
  startRedis(settings?: readonly string[]): Promise<RedisService>;
  /** Stops everything and removes the folder. */
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL for this run.
 * @param settings of PostgreSQL, on top of those that keep the disk out of the figures.
 */
export async function startServices(settings: Readonly<Record<string, string>> = {}): Promise<Services> {
  await linkMigrations();
  const dataDir = path.join(ROOT, '.data');
  await mkdir(dataDir, { recursive: true });
  const folder = await mkdtemp(path.join(dataDir, 'bench-'));
  const redises: RedisService[] = [];
  const launch = async (extra: Readonly<Record<string, string>>): Promise<PostgresService> =>
    await startPostgres({
      dataDir: path.join(folder, 'postgres'),
      log: () => {},
      database: 'bench',
      settings: {
        ...WITHOUT_DISK,
        shared_buffers: '512MB',
        maintenance_work_mem: '512MB',
        max_connections: '300',
        ...extra,
      },
    });
  let postgres = await launch(settings);
  return {
    get postgres() {
      return postgres;
    },
    async restartPostgres(extra) {
      await postgres.stop();
      postgres = await launch(extra);
    },
    async startRedis(redisSettings = []) {
      // Beside the folder, not in it: the unpacked Redis package is looked for beside an instance's folder.
      const redis = await startRedis({
        dataDir: await mkdtemp(`${folder}-redis-`),
        log: () => {},
        reuse: false,
        settings: redisSettings,
      });
      redises.push(redis);
      return redis;
    },
    async stop() {
      await Promise.all(redises.map(async (redis) => await redis.stop()));
      await postgres.stop();
      for (const name of await readdir(dataDir)) {
        if (!name.startsWith(path.basename(folder))) continue;
        await rm(path.join(dataDir, name), { recursive: true, force: true });
      }
    },
  };
}

/** The compiled sources look for the migrations two folders above their own. */
async function linkMigrations(): Promise<void> {
  try {
    await symlink('../drizzle', path.join(ROOT, 'dist-bench/drizzle'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
