import { jitterOf } from '../core/jitter.js';

/** How long reads are counted before they decide (ms). */
const WINDOW_MS = 60_000;
/** Fewer stored values than this in a window decide nothing. */
const MIN_STORED = 1_000;
/** Storing must cost this many times what it saves, in two windows in a row, before it is given up. */
const MARGIN = 2;
/** The share of keys that is stored all the same, so that a change of the traffic is noticed. */
const SAMPLE = 1 / 8;

/** What was counted in one window. */
interface Counts {
  /** Reads that found a stored value, and those that a cached response answered. */
  hits: number;
  stored: number;
  loaded: number;
  loadMs: number;
  storeMs: number;
}

const noCounts = (): Counts => ({ hits: 0, stored: 0, loaded: 0, loadMs: 0, storeMs: 0 });

/**
 * Decides whether the values of one resource are worth storing, and worth loading again before they expire, from what
 * this process observes: how often a stored value is read again, and what loading and storing it cost. It decides
 * nothing about freshness, and TTLs stay as they are.
 */
export class CachingPolicy {
  private counts = noCounts();
  private endsAt: number;
  private wasWasteful = false;
  private isWasteful = false;
  private lastReuse = Infinity;

  /** @param now tests control the time (ms) */
  constructor(private readonly now = () => performance.now()) {
    this.endsAt = now() + WINDOW_MS;
  }

  /** How many reads each stored value answered in the last window that had enough of them; Infinity at first. */
  get reuse(): number {
    return this.lastReuse;
  }

  /** Whether all values are stored; if not, only a sample of them is. */
  get stores(): boolean {
    return !(this.isWasteful && this.wasWasteful);
  }

  /** Whether values are loaded again before they expire: not those of which most are never read again. */
  get refreshes(): boolean {
    return this.lastReuse >= 1;
  }

  /** Whether to store the value of a key. */
  storesKey(key: string): boolean {
    return this.stores || jitterOf(key) < SAMPLE;
  }

  hit(count: number): void {
    this.counts.hits += count;
  }

  /** @param ms the time of the whole batch */
  loaded(count: number, ms: number): void {
    this.counts.loaded += count;
    this.counts.loadMs += ms;
    if (this.now() >= this.endsAt) this.decide();
  }

  /** @param ms the time of the whole batch */
  stored(count: number, ms: number): void {
    this.counts.stored += count;
    this.counts.storeMs += ms;
  }

  private decide(): void {
    const { hits, stored, loaded, loadMs, storeMs } = this.counts;
    this.counts = noCounts();
    this.endsAt = this.now() + WINDOW_MS;
    if (stored < MIN_STORED * (this.stores ? 1 : SAMPLE)) return;
    this.lastReuse = hits / stored;
    const savedMs = this.lastReuse * (loadMs / loaded);
    this.wasWasteful = this.isWasteful;
    this.isWasteful = savedMs * MARGIN < storeMs / stored;
  }
}
