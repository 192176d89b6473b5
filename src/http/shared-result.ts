import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Shares the result of work that is asked for often: at most `perSecond` times a second it is done anew, once at a time.
 * Those who ask meanwhile wait, and share the result of the next time. So nobody gets what was found before they asked.
 */
export function sharedResult<Result>(work: () => Promise<Result>, perSecond: number): () => Promise<Result> {
  const pauseMs = 1_000 / perSecond;
  let startedAt = -Infinity;
  let running: Promise<unknown> | undefined;
  let next: Promise<Result> | undefined;
  const doNext = async (): Promise<Result> => {
    await running?.catch(() => undefined);
    const waitMs = startedAt + pauseMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    next = undefined;
    startedAt = performance.now();
    const started = work();
    running = started;
    return await started;
  };
  return async () => await (next ??= doNext());
}
