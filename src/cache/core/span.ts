import type { RedisOperation } from './observer.js';

/** A part of a request that takes time of its own. */
export type TracedPart =
  /** Values of one resource are read together. */
  | { readonly kind: 'read'; readonly resource: string; readonly keys: number }
  /** A round trip to Redis. */
  | { readonly kind: 'redis'; readonly operation: RedisOperation }
  /** An SQL statement, with placeholders instead of values. */
  | { readonly kind: 'sql'; readonly statement: string };

/** A request that is traced, or a part of it. Its methods are cheap and never throw. */
export interface Span {
  /** Begins a part of this one. */
  begin(part: TracedPart): Span;
  /** Records how many of the values of a read were hits. */
  foundHits(count: number): void;
  /** Call it once, with the error if the part has failed. */
  end(error?: unknown): void;
}
