import type { Logger } from 'pino';

import { CacheUnavailableError } from './errors.js';
import type { InvalidationLog, LogBatch, LogSource } from './invalidation-log.js';
import type { Invalidator } from './invalidator.js';
import type { RedisStore } from './redis-store.js';
import { xminOf } from './snapshot.js';
import { sweep } from './sweep.js';

const TICK_MS = 500;
/** How long a write's own invalidation has, before the sweep looks after it (ms). */
const SWEEP_AFTER_MS = 1_000;
const PRUNE_EVERY_MS = 10_000;
/** Longer than any cached value lives (ms): an entry this old is needed by nobody. */
const KEEP_MS = 660_000;
/** More entries than this are not kept, however young: values from before them are refused instead. */
const KEEP_ENTRIES = 100_000;

/** A point of the log: all entries below `xmin` were there when `entries` had been seen. */
interface Horizon {
  readonly takenAt: number;
  readonly xmin: number;
  readonly entries: number;
}

/**
 * Tends the invalidation log, in one process at a time: sweeps what a lost invalidation left in Redis, and prunes
 * entries that no cached value can need.
 *
 * The sweep only tidies up: values that it would remove are refused by every process already. It looks at the stored
 * snapshots and removes what is outdated, so values that were loaded since the write stay.
 */
export class LogKeeper {
  private timer: NodeJS.Timeout | undefined;
  private due: { readonly at: number; readonly batch: LogBatch }[] = [];
  private horizons: Horizon[] = [];
  private entriesSeen = 0;
  private prunedAt = performance.now();
  private working: Promise<void> | undefined;

  constructor(
    private readonly parts: {
      readonly invalidationLog: InvalidationLog;
      readonly source: LogSource;
      readonly invalidator: Invalidator;
      readonly store: RedisStore | undefined;
      readonly log: Logger;
    },
  ) {
    parts.invalidationLog.onPoll((batch) => this.note(batch));
  }

  start(): void {
    this.timer = setInterval(() => {
      this.working ??= this.work().finally(() => {
        this.working = undefined;
      });
    }, TICK_MS);
    this.timer.unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.working;
  }

  private note(batch: LogBatch): void {
    const now = performance.now();
    this.entriesSeen += batch.entries.length;
    if (batch.entries.length > 0) this.due.push({ at: now + SWEEP_AFTER_MS, batch });
    const last = this.horizons.at(-1);
    if (!last || now - last.takenAt > PRUNE_EVERY_MS || this.entriesSeen - last.entries > KEEP_ENTRIES / 10) {
      this.horizons.push({ takenAt: now, xmin: xminOf(batch.snapshot), entries: this.entriesSeen });
    }
  }

  private async work(): Promise<void> {
    const now = performance.now();
    const ripe = this.due.filter(({ at }) => at <= now);
    this.due = this.due.filter(({ at }) => at > now);
    const isTimeToPrune = now - this.prunedAt > PRUNE_EVERY_MS;
    if (ripe.length === 0 && !isTimeToPrune) return;
    try {
      if (!(await this.parts.source.lead())) return;
      if (ripe.length > 0) await this.sweep(ripe.map(({ batch }) => batch));
      if (isTimeToPrune) await this.prune(now);
    } catch (error) {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.warn({ err: error }, 'Could not tend the invalidation log');
    }
  }

  private async prune(now: number): Promise<void> {
    this.prunedAt = now;
    const outlived = this.horizons.filter(
      ({ takenAt, entries }) => now - takenAt > KEEP_MS || this.entriesSeen - entries > KEEP_ENTRIES,
    );
    const horizon = outlived.at(-1);
    if (!horizon) return;
    const removed = await this.parts.source.prune(horizon.xmin);
    this.horizons = this.horizons.slice(outlived.length - 1);
    if (removed > 0) this.parts.log.debug({ removed, below: horizon.xmin }, 'Pruned the invalidation log');
  }

  private async sweep(batches: readonly LogBatch[]): Promise<void> {
    const { store, invalidator } = this.parts;
    if (store) await sweep(batches, store, invalidator);
  }
}
