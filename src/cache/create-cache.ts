import type { Logger } from 'pino';

import { ResponseCache } from './response/response-cache.js';
import { CoherentCache } from './coherent-cache.js';
import { InvalidationLog, type LogSource } from './invalidation/invalidation-log.js';
import { Invalidator } from './invalidation/invalidator.js';
import {
  InvalidationLogMaintenance,
  type LogRetention,
} from './invalidation/invalidation-log-maintenance.js';
import { KeySpace } from './redis/keys.js';
import type { CacheObserver, RedisState } from './observer.js';
import { connectRedis, type RedisTarget } from './redis/redis-client.js';
import { RedisCircuitBreaker } from './redis/redis-circuit-breaker.js';
import { GENERATION_LIFE_MS, CLAIM_LIFE_MS, RedisStore } from './redis/redis-store.js';
import type { CachedResource, Resource } from './resource.js';

export interface CacheOptions {
  readonly redis: {
    /** Where Redis is; absent, everything is read from the database. */
    readonly target: RedisTarget | undefined;
    /** The longest that one round trip may take, in ms. */
    readonly timeoutMs: number;
  };
  /** Goes before every key. */
  readonly prefix: string;
  /** The most bytes of whole responseCache to keep in memory; 0 keeps none. */
  readonly responseCacheBytes: number;
  readonly logSource: LogSource;
  readonly observer: CacheObserver;
  readonly log: Logger;
  readonly logRetention?: LogRetention | undefined;
}

export interface Cache {
  /** Binds a description to this cache, for reading and for invalidation. */
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value>;
  /** Whole responseCache; undefined where they are not kept. */
  readonly responseCache: ResponseCache | undefined;
  readonly invalidator: Invalidator;
  readonly invalidationLog: InvalidationLog;
  state(): RedisState | 'off';
  /** What Redis refuses, while the state is `degraded`. */
  refusal(): string | undefined;
  /** Starts to read the invalidation log, and waits for Redis, `timeoutMs` at most. */
  start(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** Puts the parts of the cache together. */
export function createCache(options: CacheOptions): Cache {
  const { redis, observer, log } = options;
  const cluster = redis.target?.kind === 'cluster';
  const keys = new KeySpace({ prefix: options.prefix, cluster });
  const client = redis.target && connectRedis(redis.target);
  const circuitBreaker =
    client &&
    new RedisCircuitBreaker(client, {
      timeoutMs: redis.timeoutMs,
      examples: (name) => keys.examples(name),
      log,
      observer,
    });
  const store = circuitBreaker && new RedisStore(circuitBreaker, cluster);
  const invalidationLog = new InvalidationLog({ source: options.logSource, log });
  // After an outage, the invalidation log is read again before cached values are trusted.
  circuitBreaker?.beforeRecovery(async () => await invalidationLog.confirm());
  const invalidator = new Invalidator({ store, circuitBreaker, keys, log });
  const keeper = new InvalidationLogMaintenance({
    invalidationLog,
    source: options.logSource,
    invalidator,
    store,
    log,
    retention: options.logRetention,
  });
  const coherent = new CoherentCache({ store, keys, invalidator, freshness: invalidationLog, observer, log });
  const responseCache =
    store && options.responseCacheBytes > 0
      ? new ResponseCache({
          store,
          freshness: invalidationLog,
          observer,
          maxBytes: options.responseCacheBytes,
        })
      : undefined;
  return {
    responseCache,
    invalidator,
    invalidationLog,
    resource<Id, Value>(resource: Resource<Id, Value>) {
      if (resource.ttlSeconds * 1_000 > GENERATION_LIFE_MS - CLAIM_LIFE_MS)
        throw new Error(`Values of ${resource.name} would outlive their generations`);
      const valueKeys = coherent.valueKeysOf(resource);
      invalidator.register(resource, (id: Id) => valueKeys.of(id));
      return coherent.resource(resource, valueKeys);
    },
    state() {
      if (!circuitBreaker) return 'off';
      return circuitBreaker.state;
    },
    refusal: () => circuitBreaker?.refusal,
    async start(timeoutMs) {
      await Promise.all([invalidationLog.start(), circuitBreaker?.ready(timeoutMs)]);
      keeper.start();
    },
    async close() {
      await keeper.stop();
      circuitBreaker?.stop();
      client?.disconnect();
      await invalidationLog.stop();
    },
  };
}
