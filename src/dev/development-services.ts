import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { startPostgres } from './services/postgres.js';
import { startRedis } from './services/redis.js';
import { withLock } from './services/lock.js';

type Environment = Record<string, string | undefined>;
type Log = (line: string) => void;

/** A service in use: the given one, or one of our own. */
export interface ServiceInUse {
  readonly url: string;
  /** Stops the service if it was started or taken over here; leaves a given one alone. */
  readonly stop: () => Promise<void>;
  /** As {@link stop}, but leaves a service that was running before as well. */
  readonly release: () => Promise<void>;
}

const DEFAULT_DATA_DIR = '.data';

const nothing = async (): Promise<void> => {};

/** Where the embedded services keep their files, as an absolute path. */
export const dataDirOf = (environment: Environment): string =>
  path.resolve(environment.DATA_DIR ?? DEFAULT_DATA_DIR);

/** DATABASE_URL, or an embedded PostgreSQL in the data folder. */
export async function bringUpDatabase(environment: Environment, log: Log): Promise<ServiceInUse> {
  if (environment.DATABASE_URL !== undefined) {
    return { url: environment.DATABASE_URL, stop: nothing, release: nothing };
  }
  const service = await startPostgres({ dataDir: path.join(dataDirOf(environment), 'postgres'), log });
  const stop = async () => await service.stop();
  return { url: service.url, stop, release: service.reused ? nothing : stop };
}

/** REDIS_URL, or an embedded Redis in the data folder. */
export async function bringUpRedis(environment: Environment, log: Log): Promise<ServiceInUse> {
  if (environment.REDIS_URL !== undefined)
    return { url: environment.REDIS_URL, stop: nothing, release: nothing };
  const service = await startRedis({ dataDir: path.join(dataDirOf(environment), 'redis'), log, reuse: true });
  const stop = async () => await service.stop();
  return { url: service.url, stop, release: service.reused ? nothing : stop };
}

/** JWT_SECRET, or a random secret of this data folder, made at its first use. */
export async function developmentSecret(environment: Environment, log: Log): Promise<string> {
  if (environment.JWT_SECRET !== undefined) return environment.JWT_SECRET;
  const dataDir = dataDirOf(environment);
  await mkdir(dataDir, { recursive: true });
  const file = path.join(dataDir, 'jwt-secret');
  return await withLock(`${file}.lock`, log, async () => {
    const kept = await readFile(file, 'utf8').catch(() => '');
    if (kept.length >= 32) return kept;
    const secret = randomBytes(32).toString('hex');
    await writeFile(file, secret, { mode: 0o600 });
    return secret;
  });
}
