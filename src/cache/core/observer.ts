export type MissReason = 'absent' | 'outdated' | 'distrusted' | 'unavailable';
/** The state of Redis: `down` if it cannot be reached, `degraded` if it refuses a command that the cache needs. */
export type RedisState = 'up' | 'down' | 'degraded';
export type RedisFailure = 'timeout' | 'error' | 'refused';
export type RefreshOutcome = 'refreshed' | 'failed';
export type RedisOperation =
  'read' | 'claim' | 'fill' | 'release' | 'invalidate' | 'help' | 'sweep' | 'probe';

/** What became of a newer value that a writer read to replace the stored one. */
export type Replaced =
  /** It was stored. */
  | 'replaced'
  /** The stored value is as new. */
  | 'kept'
  /** No value was stored that it could replace; whatever there was is removed. */
  | 'removed';
/**
 * Why tags were invalidated: for a write of this process, before it is answered; to help another's write that a load
 * showed; because the invalidation log lists the write; or again, because an invalidation was lost.
 */
export type InvalidationCause = 'mutation' | 'helped' | 'log' | 'sweep';

/** Receives the events of the cache, for metrics and tests. Its methods must be cheap and must not throw. */
export interface CacheObserver {
  hit(resource: string, count?: number): void;
  miss(resource: string, reason: MissReason, count?: number): void;
  /** Values that are read often were loaded again before they expired, or could not be. No reader waited for it. */
  refreshed(resource: string, outcome: RefreshOutcome, count: number): void;
  /** A reader joined a load that was under way in this process. */
  joined(resource: string): void;
  /** A reader found another process loading, and got the value that it stored. */
  waited(resource: string): void;
  /** Rows were requested from the database, in one statement. */
  loaded(resource: string, count: number): void;
  /** Loaded values were stored in Redis, or refused there, because they were invalidated after they were claimed. */
  filled(resource: string, stored: number, outdated: number): void;
  /** A writer had a newer value for the stored one. */
  replaced(resource: string, outcome: Replaced): void;
  roundTrip(operation: RedisOperation): void;
  /** A round trip was answered, has failed or timed out. */
  roundTripEnded(operation: RedisOperation, seconds: number): void;
  redisFailure(operation: RedisOperation, reason: RedisFailure): void;
  /** Redis changed to this state. */
  redisState(state: RedisState): void;
  /** Tags were invalidated in Redis, or wait for it. */
  invalidated(cause: InvalidationCause, tags: number): void;
  /** Among them were tags that values of a resource depend on. */
  outdated(resource: string, cause: InvalidationCause, tags: number): void;
  /** Values were returned to readers, but are too large to be stored. */
  tooLarge(resource: string, count: number): void;
  /** A response was checked after it was made, because its values might be of several moments. */
  momentChecked(isOne: boolean): void;
  /** A query was executed again, because its values were of several moments: once more, or in one transaction. */
  executedAgain(how: 'once more' | 'in one transaction'): void;
}

export const SILENT: CacheObserver = {
  hit() {},
  miss() {},
  refreshed() {},
  joined() {},
  waited() {},
  loaded() {},
  filled() {},
  replaced() {},
  roundTrip() {},
  roundTripEnded() {},
  redisFailure() {},
  redisState() {},
  invalidated() {},
  outdated() {},
  tooLarge() {},
  momentChecked() {},
  executedAgain() {},
};
