import { LRUCache } from 'lru-cache';

/** A caller may send this much at once after a pause, unless another limit is given (ms of its rate). */
const BURST_MS = 1_000;
/** Sums of fractions are not exact (ms). */
const TOLERANCE_MS = 0.001;
/** How many callers are remembered. One that is forgotten starts anew. */
const MAX_CALLERS = 50_000;
/** A caller's requests are shared with other processes once there are this many, as a part of a second's worth. */
const SHARED_PART = 1 / 16;

interface Bucket {
  /** When nothing will be left of what the caller sent, at the rate that is allowed (ms of the process's clock). */
  emptyAt: number;
  /** The requests that other processes do not know of. */
  unshared: number;
}

/** The requests of a caller that other processes do not know of. */
export interface UnsharedRequests {
  readonly caller: string;
  readonly count: number;
}

/**
 * Limits the rate of each caller: `perSecond` requests, and a second's worth (`burstMs`) at once after a pause. A leaky bucket, also
 * known as GCRA: one number says how full it is, so a request costs one look-up, and creates nothing.
 */
export class LeakyBuckets {
  private readonly buckets = new LRUCache<string, Bucket>({ max: MAX_CALLERS });
  private readonly costMs: number;
  private readonly shareFrom: number;
  private busy = new Set<string>();

  constructor(
    readonly perSecond: number,
    private readonly burstMs = BURST_MS,
  ) {
    this.costMs = 1_000 / perSecond;
    this.shareFrom = perSecond * SHARED_PART;
  }

  /** Counts a request. Returns 0 if it is allowed, and otherwise after how long the next one is (ms). */
  take(caller: string): number {
    const now = performance.now();
    const bucket = this.bucketOf(caller, now);
    const emptyAt = (bucket.emptyAt > now ? bucket.emptyAt : now) + this.costMs;
    const waitMs = emptyAt - now - this.burstMs;
    if (waitMs > TOLERANCE_MS) return waitMs;
    bucket.emptyAt = emptyAt;
    if (++bucket.unshared >= this.shareFrom) this.busy.add(caller);
    return 0;
  }

  /** How long the caller must wait (ms); 0: not at all. It counts nothing. */
  waitOf(caller: string): number {
    const { emptyAt = 0 } = this.buckets.get(caller) ?? {};
    return Math.max(0, emptyAt - performance.now() + this.costMs - this.burstMs);
  }

  /** Returns the requests to be shared, and counts them as shared. */
  takeUnshared(): UnsharedRequests[] {
    const { busy } = this;
    this.busy = new Set();
    return [...busy].flatMap((caller) => {
      const bucket = this.buckets.peek(caller);
      if (!bucket) return [];
      const count = bucket.unshared;
      bucket.unshared = 0;
      return [{ caller, count }];
    });
  }

  /** Tells how full the bucket of all processes together is (ms of the rate). */
  fillTo(caller: string, levelMs: number): void {
    const now = performance.now();
    const bucket = this.bucketOf(caller, now);
    bucket.emptyAt = Math.max(bucket.emptyAt, now + levelMs + bucket.unshared * this.costMs);
  }

  private bucketOf(caller: string, now: number): Bucket {
    const known = this.buckets.get(caller);
    if (known) return known;
    const made = { emptyAt: now, unshared: 0 };
    this.buckets.set(caller, made);
    return made;
  }
}
