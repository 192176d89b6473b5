/**
 * A coherent cache between PostgreSQL and Redis, for any server: a read that starts after a write was answered never
 * returns the state before it. `docs/cache-library.md` explains how to use it. Anything not exported here may change.
 */
export { createCache, type Cache, type CacheOptions } from './create-cache.js';
export {
  cached,
  type BoundResources,
  type Cacheable,
  type CachedResource,
  type Snapshotted,
} from './core/resource.js';
export type { ShapeOf } from './core/shape.js';
export { tagFamily, type Tag, type TagFamily } from './core/tags.js';
export { clearLoaders, createLoaders, type Loaders } from './loaders.js';
export type { ResponseDependencies } from './response/response-dependencies.js';
export type { Demand } from './core/demand.js';
export type { Span, TracedPart } from './core/span.js';
export type { Consumer, Work } from './core/work.js';
export { encodeKeyText } from './core/keys.js';
export type { RedisTarget } from './redis/redis-client.js';
export { installCache } from './postgres/install.js';
export { resetCache } from './postgres/epoch.js';
export type { ConnectionOptions, OpenConnection } from './postgres/connection.js';
export type {
  CacheObserver,
  InvalidationCause,
  MissReason,
  RedisFailure,
  RedisOperation,
  RedisState,
  RefreshOutcome,
  Replaced,
} from './core/observer.js';
export type { Logger } from './core/logger.js';
