import type { Demand } from './demand.js';
import type { Span, TracedPart } from './span.js';

/** Who uses what is limited, such as connections. Each caller, and each group of callers, gets a fair share. */
export interface Consumer {
  readonly caller: string;
  readonly group: string;
}

/** What the running code is done for: a request, or a part of one. */
export interface Work {
  /** The span, if the request is traced. */
  readonly span?: Span | undefined;
  /** Undefined: nobody in particular. */
  readonly consumer?: Consumer | undefined;
  /** Who waits for the result. Undefined: the work is done in any case. */
  readonly demand?: Demand | undefined;
}

let current: Work | undefined;

/**
 * The work that the running code belongs to. It is known until the code first awaits something: whoever needs it after
 * that reads it before. So no promise costs more, as with AsyncLocalStorage.
 */
export const currentWork = (): Work | undefined => current;

/** Calls `run`. Until it first awaits something, `work` is the current one. */
export function within<Result>(work: Work | undefined, run: () => Result): Result {
  const outer = current;
  current = work;
  try {
    return run();
  } finally {
    current = outer;
  }
}

/** Calls `run` as a part of the current work, which is traced if that is. */
export function traced<Result>(part: TracedPart, run: () => Promise<Result>): Promise<Result> {
  const span = current?.span?.begin(part);
  return span ? ended(span, within({ ...current, span }, run)) : run();
}

async function ended<Result>(span: Span, running: Promise<Result>): Promise<Result> {
  try {
    const result = await running;
    span.end();
    return result;
  } catch (error) {
    span.end(error);
    throw error;
  }
}
