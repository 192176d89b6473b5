import type { Logger } from '../core/logger.js';

import type { LogEntry, Moment } from '../core/moment.js';
import { epochOf, hasSeenAllUpTo, isLater, isVisible, type SnapshotText } from '../core/snapshot.js';
import { EVERYTHING, type Tag } from '../core/tags.js';

/** Decides, in addition to the generations in Redis, whether a cached value may be used. */
export interface Freshness {
  /** Whether a value read under this snapshot has seen every known write of its tags. */
  accepts(tags: readonly Tag[], snapshot: SnapshotText): boolean;
  /**
   * Changes whenever {@link accepts} may return another result, unless only because the log was not read for too
   * long.
   */
  readonly revision: number;
  /** Whether the log was read recently; if not, {@link accepts} is false for everything. */
  readonly isCurrent: boolean;
  /** Resolves once {@link accepts} covers everything that was committed before this call. */
  confirm(): Promise<void>;
}

/** The result of a poll: the entries that became visible since the cursor, and the next cursor. */
export interface LogBatch {
  readonly snapshot: SnapshotText;
  readonly entries: readonly LogEntry[];
  /** Entries below this transaction id are incomplete: a value must have seen everything below it to be accepted. */
  readonly completeFrom: number;
}

/** The storage of the log. */
export interface LogSource {
  /** Opens its own connection and reads all entries, oldest first. */
  open(): Promise<LogBatch>;
  /** Reads the entries that became visible since a snapshot. */
  poll(since: SnapshotText): Promise<LogBatch>;
  /** Tries to become the one process that maintains the log. Returns whether this process is it. */
  lead(): Promise<boolean>;
  /**
   * Removes entries below a transaction id, except those of running transactions. Returns how many.
   * @param lowest the log has no entry below it
   */
  prune(lowest: number, below: number): Promise<number>;
  close(): Promise<void>;
}

/** Whether entries were read from the log itself, or beside the values of a load. */
type LearnedFrom = 'log' | 'load';
type LearnedListener = (batch: LogBatch, from: LearnedFrom) => void;

export interface InvalidationLogOptions {
  readonly source: LogSource;
  readonly log: Logger;
  /** Pause between polls in ms. */
  readonly intervalMs?: number;
  /** The maximum number of tags to remember; the oldest are forgotten first, see {@link InvalidationLog.accepts}. */
  readonly maxTags?: number;
}

const POLL_INTERVAL_MS = 100;
/** No cached value is used if the log was not read for this long (ms). */
export const MAX_BLINDNESS_MS = 2_000;
const MAX_TAGS = 200_000;
/** If more transactions than this change a tag between two polls, only the last one is remembered. */
const MAX_XIDS = 8;

/** The transactions that a value must have seen: one, each of a few, or (`upTo`) all up to one. */
type Writes = number | number[] | { readonly upTo: number };

/**
 * The log check: this process's copy of the database's invalidation log. It decides whether a cached value may be
 * used, regardless of the state of Redis and of other processes.
 *
 * The cursor is a snapshot, not a sequence number: transactions commit in another order than they begin, and a poll
 * for `id > last` would skip those that commit late.
 *
 * For a tag it is enough to remember the transactions of the latest poll in which it changed: commits become visible
 * in one order for everybody, so a snapshot that sees them sees all earlier ones.
 */
export class InvalidationLog implements Freshness {
  private readonly changes = new Map<Tag, Writes>();
  private readonly source: LogSource;
  private readonly log: Logger;
  private readonly intervalMs: number;
  private readonly maxTags: number;
  /** Transactions up to this id are no longer remembered by tag: a value must have seen them all. */
  private floor = 0;
  private everything: Writes = [];
  private cursor: SnapshotText | undefined;
  /** The epoch of the cursor. Snapshots of another epoch cannot be compared with it. */
  private epoch = '';
  private changesSeen = 0;
  private lastPollStartedAt = -Infinity;
  /** Only reads of the log that began after this time count, see {@link confirm}. */
  private trustedFrom = -Infinity;
  private isFailing = false;
  private polling: Promise<void> | undefined;
  private confirming: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private blind = true;
  private readonly listeners: LearnedListener[] = [];

  constructor(options: InvalidationLogOptions) {
    this.source = options.source;
    this.log = options.log;
    this.intervalMs = options.intervalMs ?? POLL_INTERVAL_MS;
    this.maxTags = options.maxTags ?? MAX_TAGS;
  }

  /** Reads the log, and then polls it. Resolves after the first read, even if that failed. */
  async start(): Promise<void> {
    await this.poll();
    this.schedule();
  }

  /** Calls the listener with the entries that this process has just learned. */
  onLearned(listener: LearnedListener): void {
    this.listeners.push(listener);
  }

  /** Whether the log was read within {@link MAX_BLINDNESS_MS}; if not, no cached value may be used. */
  get isCurrent(): boolean {
    const age = performance.now() - this.lastPollStartedAt;
    return age < MAX_BLINDNESS_MS && this.lastPollStartedAt >= this.trustedFrom;
  }

  get revision(): number {
    return this.changesSeen;
  }

  /** The age of the last read of the log, in ms. */
  get ageMs(): number {
    return performance.now() - this.lastPollStartedAt;
  }

  get rememberedTags(): number {
    return this.changes.size;
  }

  accepts(tags: readonly Tag[], snapshot: SnapshotText): boolean {
    if (!this.isCurrent || !snapshot.endsWith(this.epoch)) return false;
    if (!this.hasSeen(this.everything, snapshot)) return false;
    if (this.floor > 0 && !hasSeenAllUpTo(this.floor, snapshot, this.cursor)) return false;
    for (const tag of tags) {
      const writes = this.changes.get(tag);
      if (writes !== undefined && !this.hasSeen(writes, snapshot)) return false;
    }
    return true;
  }

  private hasSeen(writes: Writes, snapshot: SnapshotText): boolean {
    if (typeof writes === 'number') return isVisible(writes, snapshot);
    if (!Array.isArray(writes)) return hasSeenAllUpTo(writes.upTo, snapshot, this.cursor);
    return writes.every((xid) => isVisible(xid, snapshot));
  }

  /**
   * Waits for a read of the log that began after this call. If it fails, no value is accepted until the next read
   * that succeeds.
   */
  async confirm(): Promise<void> {
    const calledAt = performance.now();
    await (this.confirming ??= this.pollForAll());
    if (this.lastPollStartedAt < calledAt) this.trustedFrom = calledAt;
  }

  /** Starts one poll for all callers that the same event has woken. */
  private async pollForAll(): Promise<void> {
    await Promise.resolve();
    this.confirming = undefined;
    // After a failure, the next poll may have much to read: do not wait for it.
    if (this.polling && !this.isFailing) await this.polling;
    if (!this.isFailing) await this.poll();
  }

  /** Up to where this process knows the log; empty while it knows nothing. A load tells what comes after it. */
  get knownUpTo(): SnapshotText {
    return this.cursor ?? '';
  }

  /**
   * Learns the entries that a load has seen. Returns whether this process now knows all that the load has seen of the
   * log; if not, the log must be read, see {@link confirm}.
   */
  learn({ snapshot, entries }: Moment): boolean {
    const { cursor } = this;
    if (cursor === undefined || !this.isCurrent || epochOf(snapshot) !== this.epoch) return false;
    if (!isLater(snapshot, cursor)) return true;
    if (entries === undefined) return false;
    this.advance({ snapshot, entries, completeFrom: 0 }, 'load');
    return true;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.polling;
    await this.source.close();
  }

  private schedule(): void {
    if (this.stopped) return;
    this.timer = setTimeout(() => {
      void this.poll().then(() => this.schedule());
    }, this.intervalMs);
    this.timer.unref();
  }

  private poll(): Promise<void> {
    this.polling ??= this.pollOnce().finally(() => {
      this.polling = undefined;
    });
    return this.polling;
  }

  private async pollOnce(): Promise<void> {
    const startedAt = performance.now();
    try {
      let batch = this.cursor === undefined ? await this.source.open() : await this.source.poll(this.cursor);
      if (this.cursor !== undefined && epochOf(batch.snapshot) !== this.epoch) {
        this.log.warn('The database was restored or moved, or its cache reset: no cached value is trusted');
        this.forget();
        batch = await this.source.open();
      }
      this.epoch = epochOf(batch.snapshot);
      if (batch.completeFrom - 1 > this.floor) {
        this.floor = batch.completeFrom - 1;
        this.changesSeen++;
      }
      this.advance(batch, 'log');
      this.lastPollStartedAt = startedAt;
      if (this.blind) this.log.info({ tags: this.changes.size }, 'Reading the invalidation log');
      this.blind = false;
      this.isFailing = false;
    } catch (error) {
      if (!this.blind)
        this.log.warn({ err: error }, 'Cannot read the invalidation log: cached values are not trusted');
      this.blind = true;
      this.isFailing = true;
    }
  }

  /** Learns a batch, unless loads have told more meanwhile. */
  private advance(batch: LogBatch, from: LearnedFrom): void {
    const { cursor } = this;
    if (cursor !== undefined && !isLater(batch.snapshot, cursor) && batch.snapshot !== cursor) return;
    const entries =
      cursor === undefined ? batch.entries : batch.entries.filter(({ xid }) => !isVisible(xid, cursor));
    const learned = { ...batch, entries };
    if (entries.length > 0) this.changesSeen++;
    this.remember(learned);
    this.cursor = batch.snapshot;
    for (const listener of this.listeners) listener(learned, from);
  }

  /** Clears everything that was learned in another epoch. */
  private forget(): void {
    this.changes.clear();
    this.everything = [];
    this.floor = 0;
    this.cursor = undefined;
    this.lastPollStartedAt = -Infinity;
    this.changesSeen++;
  }

  private remember(batch: LogBatch): void {
    const inThisBatch = new Map<Tag, Writes>();
    for (const { xid, tags } of batch.entries) {
      for (const tag of tags) inThisBatch.set(tag, addWrite(inThisBatch.get(tag), xid));
    }
    const everything = inThisBatch.get(EVERYTHING);
    if (everything !== undefined) {
      this.everything = everything;
      inThisBatch.delete(EVERYTHING);
    }
    for (const [tag, writes] of inThisBatch) {
      this.changes.delete(tag);
      this.changes.set(tag, writes);
    }
    for (const [tag, writes] of this.changes) {
      if (this.changes.size <= this.maxTags) break;
      this.floor = Math.max(this.floor, lastOf(writes));
      this.changes.delete(tag);
    }
  }
}

function addWrite(known: Writes | undefined, xid: number): Writes {
  if (known === undefined || known === xid) return xid;
  if (typeof known === 'number') return [known, xid];
  if (!Array.isArray(known)) return { upTo: Math.max(known.upTo, xid) };
  if (known.includes(xid)) return known;
  if (known.length >= MAX_XIDS) return { upTo: Math.max(...known, xid) };
  known.push(xid);
  return known;
}

function lastOf(writes: Writes): number {
  if (typeof writes === 'number') return writes;
  return Array.isArray(writes) ? Math.max(...writes) : writes.upTo;
}
