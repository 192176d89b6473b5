import { SubjectRepository } from '../auth/subject.repository.js';
import { subjectResources } from '../auth/subject.cache.js';
import { bindAll } from '../cache/core/resource.js';
import { createCache, type Cache } from '../cache/create-cache.js';
import type { Warmed, WarmOptions } from '../cache/warming/warming.js';
import type { Inspection } from '../cache/inspection/inspection.js';
import { Verification } from '../cache/inspection/verification.js';
import type { CacheToolsConfig } from '../config.js';
import { cacheConnection } from '../db/cache-connection.js';
import { connectDatabase } from '../db/client.js';
import { firstPages } from '../first-pages.js';
import { InvalidationLogRepository } from '../invalidation/invalidation-log.repository.js';
import { OperatorInvalidation } from '../invalidation/operator-invalidation.js';
import { createRepositories, createResources, repositoriesOn } from '../resources.js';
import { OperatorError } from './accounts.js';

/** How long Redis may take to answer at the start (ms). */
const REDIS_START_MS = 3_000;
/** Tools wait longer for Redis than requests may (ms): they read much at once. */
const REDIS_TIMEOUT_MS = 2_000;
const CONNECTIONS = 2;

/** What the commands of operators need of the cache. */
export interface CacheTools {
  readonly inspection: Inspection;
  readonly invalidation: OperatorInvalidation;
  readonly log: InvalidationLogRepository;
  verification(): Verification;
  /** Loads what was read most, or the first pages of active organizations. */
  warm(options: Pick<WarmOptions, 'onStart' | 'onBatch'>): Promise<Warmed>;
  close(): Promise<void>;
}

/**
 * Makes a cache beside the servers' one, for commands.
 * @throws OperatorError if Redis or the invalidation log cannot be read
 */
export async function openCacheTools(config: CacheToolsConfig): Promise<CacheTools> {
  if (!config.redis.target) throw new OperatorError('REDIS_URL is off: there is no cache.');
  const { db, inOneSnapshot, close } = connectDatabase({ url: config.databaseUrl, poolMax: CONNECTIONS });
  const cache = createCache({
    redis: config.redis.target,
    redisTimeoutMs: REDIS_TIMEOUT_MS,
    prefix: config.prefix,
    responseCacheBytes: 0,
    refreshAhead: false,
    serves: false,
    postgres: cacheConnection(config.databaseUrl),
  });
  const closeAll = async (): Promise<void> => {
    await cache.close();
    await close();
  };
  try {
    const repositories = createRepositories(db);
    const { ttlSeconds } = config;
    const bind = cache.resource.bind(cache);
    const resources = createResources(bind, repositories, ttlSeconds);
    bindAll(bind, subjectResources(new SubjectRepository(db), ttlSeconds));
    await cache.start(REDIS_START_MS);
    const { inspection, values } = readyOperator(cache);
    const { invalidator, helping, invalidationLog: freshness } = cache;
    const log = new InvalidationLogRepository(db);
    return {
      inspection,
      log,
      invalidation: new OperatorInvalidation({
        log,
        bots: repositories.bots,
        freshness,
        invalidator,
        helping,
      }),
      verification: () =>
        new Verification({
          values,
          freshness,
          inOneSnapshot: async (work) =>
            await inOneSnapshot(
              async (transaction) =>
                await work(
                  createResources(cache.uncached, repositoriesOn(transaction, repositories), ttlSeconds),
                ),
            ),
        }),
      warm: async (options) =>
        await cache.warm({ ...options, otherwise: async () => await firstPages(repositories, resources) }),
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

function readyOperator(cache: Cache): NonNullable<Cache['operator']> {
  const state = cache.state();
  if (state !== 'up' || !cache.operator) {
    const refusal = cache.refusal();
    throw new OperatorError(
      `Redis cannot be used: it is ${state}${refusal ? ` (it refuses ${refusal})` : ''}.`,
    );
  }
  if (!cache.invalidationLog.isCurrent) throw new OperatorError('The invalidation log cannot be read.');
  return cache.operator;
}
