import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { Closer } from './closers.js';
import { claimDataDir } from './data-dir-owner.js';
import { withLock } from './services/lock.js';
import { startPostgres } from './services/postgres.js';
import { startRedis } from './services/redis.js';

type Environment = Record<string, string | undefined>;
type Log = (line: string) => void;

/** A service in use: one that the environment names, which is never stopped, or one started here. */
interface ServiceInUse {
  readonly url: string;
  /** Whether it was running before. */
  readonly reused: boolean;
  readonly stop: Closer;
}

/** The services of a development server. */
export interface DevelopmentServices {
  /** The given environment, with the addresses of the services and the secret. */
  readonly environment: Record<string, string>;
  readonly databaseUrl: string;
  /** The address of an embedded Redis. */
  readonly redisUrl: string | undefined;
}

/** The folder of the embedded services' files, as an absolute path. */
const dataDirOf = (environment: Environment): string => path.resolve(environment.DATA_DIR ?? '.data');

const given = (url: string): ServiceInUse => ({ url, reused: true, stop: async () => {} });

/**
 * Claims the data folder, and starts the services that the environment does not name. `closers` gets what stops them.
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
  const secret = await developmentSecret(environment);
  const keep = (service: ServiceInUse): ServiceInUse => {
    closers.push(service.stop);
    return service;
  };
  // Wait for both, even if one fails, so that neither is still starting when the failure is handled.
  const starting = [
    bringUpDatabase(environment, log).then(keep),
    bringUpRedis(environment, log).then((redis) => redis && keep(redis)),
  ] as const;
  await Promise.allSettled(starting);
  const [database, redis] = await Promise.all(starting);
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

/** DATABASE_URL, or an embedded PostgreSQL in the data folder. */
export async function bringUpDatabase(environment: Environment, log: Log): Promise<ServiceInUse> {
  if (environment.DATABASE_URL !== undefined) return given(environment.DATABASE_URL);
  return await startPostgres({ dataDir: path.join(dataDirOf(environment), 'postgres'), log });
}

/** An embedded Redis in the data folder, if the environment names none. */
async function bringUpRedis(environment: Environment, log: Log): Promise<ServiceInUse | undefined> {
  if (environment.REDIS_URL !== undefined || environment.REDIS_CLUSTER_NODES !== undefined) return undefined;
  return await startRedis({ dataDir: path.join(dataDirOf(environment), 'redis'), log, reuse: true });
}

/** JWT_SECRET, or a random secret of this data folder, made at its first use. */
export async function developmentSecret(environment: Environment): Promise<string> {
  if (environment.JWT_SECRET !== undefined) return environment.JWT_SECRET;
  const file = path.join(dataDirOf(environment), 'jwt-secret');
  await mkdir(path.dirname(file), { recursive: true });
  return await withLock(file, async () => {
    const stored = await readFile(file, 'utf8').catch(() => '');
    if (stored.length >= 32) return stored;
    const secret = randomBytes(32).toString('hex');
    await writeFile(file, secret, { mode: 0o600 });
    return secret;
  });
}
