import type { Logger } from 'pino';

import { AnswerCache } from './answer-cache.js';
import { CoherentCache } from './coherent-cache.js';
import { InvalidationLog, type LogSource } from './invalidation-log.js';
import { Invalidator } from './invalidator.js';
import { LogKeeper } from './log-keeper.js';
import { KeySpace } from './keys.js';
import type { CacheObserver, RedisState } from './observer.js';
import { connectRedis, type RedisTarget } from './redis-client.js';
import { RedisGateway } from './redis-gateway.js';
import { GENERATION_LIFE_MS, CLAIM_LIFE_MS, RedisStore } from './redis-store.js';
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
  /** The most bytes of whole answers to keep in memory; 0 keeps none. */
  readonly answerCacheBytes: number;
  readonly logSource: LogSource;
  readonly observer: CacheObserver;
  readonly log: Logger;
}

export interface Cache {
  /** Binds a description to this cache, for reading and for invalidation. */
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value>;
  /** Whole answers; undefined where they are not kept. */
  readonly answers: AnswerCache | undefined;
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
  const gateway =
    client &&
    new RedisGateway(client, {
      timeoutMs: redis.timeoutMs,
      examples: (name) => keys.examples(name),
      log,
      observer,
    });
  const store = gateway && new RedisStore(gateway, cluster);
  const invalidationLog = new InvalidationLog({ source: options.logSource, log });
  // What was cached before an outage is not believed on what was known before it.
  gateway?.beforeRecovery(async () => await invalidationLog.confirm());
  const invalidator = new Invalidator({ store, gateway, keys, log });
  const keeper = new LogKeeper({ invalidationLog, source: options.logSource, invalidator, store, log });
  const coherent = new CoherentCache({ store, keys, invalidator, freshness: invalidationLog, observer, log });
  const answers =
    store && options.answerCacheBytes > 0
      ? new AnswerCache({
          store,
          freshness: invalidationLog,
          observer,
          mostBytes: options.answerCacheBytes,
        })
      : undefined;
  return {
    answers,
    invalidator,
    invalidationLog,
    resource<Id, Value>(resource: Resource<Id, Value>) {
      if (resource.ttlSeconds * 1_000 > GENERATION_LIFE_MS - CLAIM_LIFE_MS)
        throw new Error(`Values of ${resource.name} would outlive their generations`);
      invalidator.register(resource);
      return coherent.resource(resource);
    },
    state() {
      if (!gateway) return 'off';
      return gateway.state;
    },
    refusal: () => gateway?.refusal,
    async start(timeoutMs) {
      await Promise.all([invalidationLog.start(), gateway?.ready(timeoutMs)]);
      keeper.start();
    },
    async close() {
      await keeper.stop();
      gateway?.stop();
      client?.disconnect();
      await invalidationLog.stop();
    },
  };
}
