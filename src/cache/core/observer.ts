export type MissReason = 'absent' | 'outdated' | 'distrusted' | 'unavailable';
/** Whether Redis is used: it cannot be reached (`down`), or refuses what is needed of it (`degraded`). */
export type RedisState = 'up' | 'down' | 'degraded';
export type RedisFailure = 'timeout' | 'error' | 'refused';
export type RedisOperation = 'read' | 'claim' | 'fill' | 'release' | 'invalidate' | 'sweep' | 'probe';

/** What the cache tells whoever watches it (metrics, tests). Every method must be cheap and must not throw. */
export interface CacheObserver {
  hit(resource: string, count?: number): void;
  miss(resource: string, reason: MissReason, count?: number): void;
  /** A reader joined a load that was under way in this process. */
  joined(resource: string): void;
  /** A reader found another process loading, and got the value it stored. */
  waited(resource: string): void;
  /** Rows asked of the database, in one statement. */
  loaded(resource: string, count: number): void;
  roundTrip(operation: RedisOperation): void;
  redisFailure(operation: RedisOperation, reason: RedisFailure): void;
  /** Redis is in another state from now on. */
  redisState(state: RedisState): void;
  /** Values were answered, but are too large to be stored. */
  tooLarge(resource: string, count: number): void;
}

export const SILENT: CacheObserver = {
  hit() {},
  miss() {},
  joined() {},
  waited() {},
  loaded() {},
  roundTrip() {},
  redisFailure() {},
  redisState() {},
  tooLarge() {},
};
