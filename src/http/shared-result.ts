import { LeakyBuckets } from '../rate-limit/leaky-buckets.js';

/** How much may be asked for at once after a pause (ms of the rate): a person or a test may look often for a moment. */
const BURST_MS = 10_000;

/**
 * Shares the result of work that is asked for too often: at most `perSecond` times a second it is done anew, and those
 * who ask more often get the result of the last time, or of the one that is under way.
 */
export function sharedResult<Result>(work: () => Promise<Result>, perSecond: number): () => Promise<Result> {
  const allowed = new LeakyBuckets(perSecond, BURST_MS);
  let last: Promise<Result> | undefined;
  return async () => {
    if (!last || allowed.take('anybody') === 0) {
      const started = work();
      last = started;
      // A failure is not shared with those who ask later.
      started.catch(() => {
        if (last === started) last = undefined;
      });
    }
    return await last;
  };
}
