import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { Closer } from './closers.js';
import { claimDataDir } from './data-dir-owner.js';
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

/** What a development server runs on. */
export interface DevelopmentServices {
  /** The environment given, with the addresses of the services and the secret. */
  readonly environment: Record<string, string>;
  readonly databaseUrl: string;
  /** Of an embedded Redis. */
  readonly redisUrl: string | undefined;
}

const DEFAULT_DATA_DIR = '.data';

const nothing = async (): Promise<void> => {};

/** Where the embedded services keep their files, as an absolute path. */
export const dataDirOf = (environment: Environment): string =>
  path.resolve(environment.DATA_DIR ?? DEFAULT_DATA_DIR);

/**
 * Claims the data folder, and brings up what the environment does not name. How to stop it is added to `closers`, step by
 * step.
 * @throws Error in production, or if another process serves from the folder.
 */
export async function bringUpServices(
  environment: Record<string, string>,
  closers: Closer[],
  log: Log,
): Promise<DevelopmentServices> {
  if (environment.NODE_ENV === 'production')
    throw new Error('npm start is for development; use npm run serve.');
  closers.push(await claimDataDir(dataDirOf(environment)));
  const secret = await developmentSecret(environment, log);
  const redisIsGiven = environment.REDIS_URL !== undefined || environment.REDIS_CLUSTER_NODES !== undefined;
  const keep = (service: ServiceInUse): ServiceInUse => {
    closers.push(service.stop);
    return service;
  };
  const [database, redis] = await settleAll<[ServiceInUse, ServiceInUse | undefined]>([
    bringUpDatabase(environment, log).then(keep),
    redisIsGiven ? Promise.resolve(undefined) : bringUpRedis(environment, log).then(keep),
  ]);
  return {
    environment: {
      ...environment,
      DATABASE_URL: database.url,
      ...(redis ? { REDIS_URL: redis.url } : {}),
      ...(environment.JWKS_URL === undefined ? { JWT_SECRET: secret } : {}),
    },
    databaseUrl: database.url,
    redisUrl: redis?.url,
  };
}

/** Waits for all, even if one fails, so that nothing is left starting when the failure is dealt with. */
async function settleAll<T extends readonly unknown[]>(tasks: {
  readonly [Index in keyof T]: Promise<T[Index]>;
}): Promise<T> {
  const results = await Promise.allSettled(tasks);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  }) as unknown as T;
}

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
