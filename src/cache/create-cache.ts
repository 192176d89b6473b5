import { SILENT_LOGGER, type Logger } from './core/logger.js';
import { connectionTo, type OpenConnection } from './postgres/connection.js';
import { invalidationLogSource } from './postgres/invalidation-log-source.js';
import { ResponseCache } from './response/response-cache.js';
import { MomentCheck } from './response/moment-check.js';
import { ResponseDependencies } from './response/response-dependencies.js';
import { BackgroundWork } from './reader/background-work.js';
import { CoherentCache } from './reader/coherent-cache.js';
import { uncached } from './reader/uncached.js';
import { Helping } from './invalidation/helping.js';
import { InvalidationLog, type LogSource } from './invalidation/invalidation-log.js';
import { Invalidator } from './invalidation/invalidator.js';
import { Inspection } from './inspection/inspection.js';
import { StoredValues } from './inspection/stored-values.js';
import { Warming, type Warmed, type WarmOptions } from './warming/warming.js';
import {
  InvalidationLogMaintenance,
  type LogRetention,
} from './invalidation/invalidation-log-maintenance.js';
import { KeySpace } from './core/keys.js';
import { SILENT, type CacheObserver, type RedisState } from './core/observer.js';
import { connectRedis, type RedisTarget } from './redis/redis-client.js';
import { RedisCircuitBreaker } from './redis/redis-circuit-breaker.js';
import { CLAIM_LIFE_MS } from './redis/claims.js';
import { GENERATION_LIFE_MS, RedisStore } from './redis/redis-store.js';
import {
  bindAll,
  type BoundResources,
  type CachedResource,
  type CachingDecision,
  type Resource,
  type UncachedResource,
} from './core/resource.js';
import type { Tag } from './core/tags.js';

export interface CacheOptions {
  /**
   * The address of Redis: a URL (`redis://`, `rediss://`, `redis+sentinel://host:port/master`), or the nodes of a
   * cluster. Undefined: every read goes to the database.
   */
  readonly redis: string | RedisTarget | undefined;
  /**
   * The primary PostgreSQL, for the invalidation log: a URL, or a function that opens a connection. Tests pass the
   * log itself.
   */
  readonly postgres: string | OpenConnection | LogSource;
  /** The prefix of every key; empty by default. */
  readonly prefix?: string;
  /** The timeout of one round trip to Redis, in ms; 100 by default. */
  readonly redisTimeoutMs?: number;
  /** The maximum size of the response cache, in bytes of memory; 64 MB by default, 0 switches it off. */
  readonly responseCacheBytes?: number;
  /** Whether values that are read often are loaded again before they expire; true by default. */
  readonly refreshAhead?: boolean;
  /**
   * Whether this process serves values to readers; true by default. A tool that only looks does not maintain the log,
   * and does not note what it reads.
   */
  readonly serves?: boolean;
  /** Is told the key of every value that Redis had; none by default. */
  readonly onHit?: ((key: string) => void) | undefined;
  /** Receives hits, misses and failures, for metrics; none by default. */
  readonly observer?: CacheObserver;
  /** The logger; silent by default. */
  readonly log?: Logger;
  readonly logRetention?: LogRetention | undefined;
}

export interface Cache {
  /** Binds descriptions to this cache, each under its name. Call it before {@link start}. */
  bind<Described extends Readonly<Record<string, object>>>(
    descriptions: Described,
  ): BoundResources<Described>;
  /** Binds one description. */
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value>;
  /** Binds one description to the database alone. */
  uncached<Id, Value>(resource: UncachedResource<Id, Value>): CachedResource<Id, Value>;
  /**
   * Invalidates tags. Call it after the transaction has committed, and before the client is told of it. One round
   * trip; never fails: if Redis cannot be reached, the invalidation log keeps outdated values from being used.
   */
  invalidate(tags: readonly Tag[]): Promise<void>;
  /**
   * Returns the cached response of a key, or makes the response and caches it. A response is cached if `make` read
   * everything with the `dependencies` and called their `complete()`. The key must contain everything that decides
   * the response, such as the caller's identity. If the values that `make` read are of several moments, it is called
   * again, with new dependencies: up to {@link MAX_EXECUTIONS} times in all; the last response is returned as it is.
   */
  respond(key: string, make: (dependencies: ResponseDependencies) => Promise<string>): Promise<Buffer>;
  /** The response cache; undefined if it is switched off. */
  readonly responseCache: ResponseCache | undefined;
  readonly momentCheck: MomentCheck;
  readonly helping: Helping;
  readonly invalidator: Invalidator;
  readonly invalidationLog: InvalidationLog;
  /** What was decided about each resource, by name. */
  readonly policies: ReadonlyMap<string, CachingDecision>;
  /** What operators see of Redis; undefined without Redis. */
  readonly operator: { readonly inspection: Inspection; readonly values: StoredValues } | undefined;
  state(): RedisState | 'off';
  /** The command that Redis refuses, while the state is `degraded`. */
  refusal(): string | undefined;
  /** See {@link Warming.warm}. */
  warm(options?: WarmOptions): Promise<Warmed>;
  /** Starts to read the invalidation log, and waits for Redis for at most `timeoutMs` (1,000 by default). */
  start(timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

/** How often a query is executed, at most, until all its values are of one moment. */
export const MAX_EXECUTIONS = 4;
const DEFAULT_REDIS_TIMEOUT_MS = 100;
const DEFAULT_RESPONSE_CACHE_BYTES = 64 * 1_048_576;
const DEFAULT_START_TIMEOUT_MS = 1_000;

/**
 * Makes the cache of one process, and connects to Redis. Before {@link Cache.start}, every read goes to the database.
 * @throws TypeError if a URL is invalid
 */
export function createCache(options: CacheOptions): Cache {
  const {
    prefix = '',
    redisTimeoutMs = DEFAULT_REDIS_TIMEOUT_MS,
    responseCacheBytes = DEFAULT_RESPONSE_CACHE_BYTES,
    refreshAhead = true,
    serves = true,
    observer = SILENT,
    log = SILENT_LOGGER,
  } = options;
  const source = logSourceOf(options.postgres);
  const target = redisTargetOf(options.redis);
  const cluster = target?.kind === 'cluster';
  const keys = new KeySpace({ prefix, cluster });
  const client = target && connectRedis(target);
  const circuitBreaker =
    client &&
    new RedisCircuitBreaker(client, {
      timeoutMs: redisTimeoutMs,
      examples: (name) => keys.examples(name),
      log,
      observer,
    });
  const store = circuitBreaker && new RedisStore(circuitBreaker, cluster, keys.everything);
  const invalidationLog = new InvalidationLog({ source, log });
  // After an outage, re-read the invalidation log before trusting cached values.
  circuitBreaker?.beforeRecovery(async () => await invalidationLog.confirm());
  const invalidator = new Invalidator({ store, circuitBreaker, keys, observer, log });
  const helping = new Helping({ invalidationLog, invalidator, serves });
  const maintenance = new InvalidationLogMaintenance({
    invalidationLog,
    source,
    invalidator,
    store,
    log,
    retention: options.logRetention,
  });
  const work = new BackgroundWork();
  const coherent = new CoherentCache({
    store,
    refreshing: refreshAhead ? work : undefined,
    onHit: options.onHit,
    keys,
    invalidator,
    freshness: invalidationLog,
    helping,
    observer,
    log,
  });
  const momentCheck = new MomentCheck({ store, freshness: invalidationLog, helping, observer });
  const responseCache =
    store && responseCacheBytes > 0
      ? new ResponseCache({
          store,
          freshness: invalidationLog,
          observer,
          maxBytes: responseCacheBytes,
        })
      : undefined;
  const values = store && new StoredValues({ store, keys, freshness: invalidationLog });
  const warming =
    client &&
    circuitBreaker &&
    values &&
    new Warming({ client, keys, isAvailable: () => circuitBreaker.available, values, log });
  const operator = client &&
    store &&
    values && {
      values,
      inspection: new Inspection({ client, store, values, invalidator, prefix }),
    };
  const policies = new Map<string, CachingDecision>();
  const bindOne = <Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> => {
    if (resource.ttlSeconds * 1_000 > GENERATION_LIFE_MS - CLAIM_LIFE_MS)
      throw new Error(`Values of ${resource.name} would outlive their generations`);
    const valueKeys = coherent.valueKeysOf(resource);
    invalidator.register(resource, (id: Id) => valueKeys.of(id));
    values?.register(resource);
    const resourceOfCache = coherent.resource(resource, valueKeys);
    warming?.register(resourceOfCache);
    if (resourceOfCache.policy) policies.set(resource.name, resourceOfCache.policy);
    return resourceOfCache;
  };
  return {
    responseCache,
    momentCheck,
    helping,
    invalidator,
    invalidationLog,
    policies,
    operator,
    resource: bindOne,
    uncached: (resource) => uncached(resource, helping),
    bind: (descriptions) => bindAll(bindOne, descriptions),
    invalidate: async (tags) => await invalidator.invalidate(tags),
    respond: async (key, make) => {
      const found = await responseCache?.find(key);
      if (found) return found.body;
      for (let attempt = 1; ; attempt++) {
        const dependencies = new ResponseDependencies(momentCheck.since);
        const body = await make(dependencies);
        const isOneMoment = await momentCheck.holds(dependencies);
        if (isOneMoment) responseCache?.keep(key, body, dependencies);
        if (isOneMoment || attempt === MAX_EXECUTIONS) return Buffer.from(body);
        observer.executedAgain('once more');
      }
    },
    state() {
      if (!circuitBreaker) return 'off';
      return circuitBreaker.state;
    },
    refusal: () => circuitBreaker?.refusal,
    warm: async (warmOptions) => (await warming?.warm(warmOptions)) ?? { known: 0, loaded: 0 },
    async start(timeoutMs = DEFAULT_START_TIMEOUT_MS) {
      await Promise.all([invalidationLog.start(), circuitBreaker?.ready(timeoutMs)]);
      if (!serves) return;
      maintenance.start();
      warming?.start();
    },
    async close() {
      work.stop();
      if (serves) await warming?.stop();
      await maintenance.stop();
      circuitBreaker?.stop();
      client?.disconnect();
      await invalidationLog.stop();
    },
  };
}

function logSourceOf(from: CacheOptions['postgres']): LogSource {
  if (typeof from === 'object') return from;
  if (typeof from === 'function') return invalidationLogSource(from);
  // The message leaves out the URL, because it may contain a password.
  if (!/^postgres(ql)?:\/\//.test(from))
    throw new TypeError('postgres must be a URL: postgres://host:port/database');
  return invalidationLogSource(connectionTo(from));
}

function redisTargetOf(from: CacheOptions['redis']): RedisTarget | undefined {
  if (typeof from !== 'string') return from;
  if (!/^rediss?(\+sentinel)?:\/\//.test(from)) throw new TypeError('redis must be a URL: redis://host:port');
  return { kind: /^rediss?:/.test(from) ? 'standalone' : 'sentinel', url: from };
}
