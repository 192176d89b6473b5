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

let current: Span | undefined;

/**
 * The span that belongs to the running code, if its request is traced. It is known until the code first awaits
 * something: whoever needs it after that reads it before. So no promise costs more, as with AsyncLocalStorage.
 */
export const currentSpan = (): Span | undefined => current;

/** Calls `work`. Until it first awaits something, `span` is the current one. */
export function within<Result>(span: Span | undefined, work: () => Result): Result {
  const outer = current;
  current = span;
  try {
    return work();
  } finally {
    current = outer;
  }
}

/** Does `work` as a part of the current span, if there is one. */
export function traced<Result>(part: TracedPart, work: () => Promise<Result>): Promise<Result> {
  const span = current?.begin(part);
  return span ? ended(span, within(span, work)) : work();
}

async function ended<Result>(span: Span, work: Promise<Result>): Promise<Result> {
  try {
    const result = await work;
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}
