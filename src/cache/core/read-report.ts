import type { MissReason } from './observer.js';
import type { Tag } from './tags.js';

/**
 * How a reader got a value: from Redis, from the database, from a load that was under way in this process, or from one
 * of another process.
 */
export type ReadOutcome = 'hit' | 'loaded' | 'joined' | 'waited';

/** What is told of one value that was read. */
export interface ReportedRead {
  readonly resource: string;
  /** The Redis key. */
  readonly key: string;
  readonly outcome: ReadOutcome;
  /** Why the value was no hit; undefined if it was one. */
  readonly missed: MissReason | 'uncached' | undefined;
  readonly tags: readonly Tag[];
  /** The time since the value was loaded (ms). */
  readonly ageMs: number;
  /** The time that is left of its TTL (ms). */
  readonly ttlMs: number;
  /** The time it took to read the batch that the value was in (ms). */
  readonly ms: number;
}
