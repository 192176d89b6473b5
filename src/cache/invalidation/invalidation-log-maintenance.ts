import type { Logger } from '../core/logger.js';

import { CacheUnavailableError } from '../core/errors.js';
import type { InvalidationLog, LogBatch, LogSource } from './invalidation-log.js';
import type { Invalidator } from './invalidator.js';
import type { CacheStore } from '../redis/cache-store.js';
import { epochOf, xmaxOf } from '../core/snapshot.js';
import { sweep } from './sweep.js';

const TICK_MS = 500;
/** How long a write's own invalidation may take before the sweep checks its keys (ms). */
const SWEEP_AFTER_MS = 1_000;
const PRUNE_EVERY_MS = 10_000;
/** Longer than any cached value lives (ms): no value needs an entry this old. */
const KEEP_MS = 660_000;
/** The maximum number of entries in the log, however young. Values from before them are refused instead. */
const KEEP_ENTRIES = 100_000;
/** How long a process that does not lead waits before it tries again (ms). */
const LEAD_AGAIN_MS = 2_000;
/** The maximum number of entries that wait for the sweep. The oldest beyond it are covered by the log alone. */
const MAX_DUE_ENTRIES = 20_000;

/** A point of the log: a value loaded later has seen every entry below `xmax`, except those of running transactions. */
interface Horizon {
  readonly takenAt: number;
  readonly xmax: number;
  readonly entries: number;
}

/** How much of the log is kept. Tests keep less. */
export interface LogRetention {
  readonly keepEntries?: number;
  readonly pruneEveryMs?: number;
}

/**
 * Maintains the invalidation log, in one process at a time. The sweep removes the values that a lost invalidation
 * left in Redis; pruning removes entries that no cached value can need.
 *
 * The sweep only frees memory: every process refuses the values that it removes. It compares the stored snapshots, so
 * values that were loaded after the write stay.
 */
export class InvalidationLogMaintenance {
  private timer: NodeJS.Timeout | undefined;
  private due: { readonly at: number; readonly batch: LogBatch }[] = [];
  private dueEntries = 0;
  private horizons: Horizon[] = [];
  private entriesSeen = 0;
  private epoch = '';
  private prunedAt = performance.now();
  private leadAgainAt = 0;
  /** The log has no entry below this id. */
  private lowestLeft = 0;
  private working: Promise<void> | undefined;

  constructor(
    private readonly parts: {
      readonly invalidationLog: InvalidationLog;
      readonly source: LogSource;
      readonly invalidator: Invalidator;
      readonly store: CacheStore | undefined;
      readonly log: Logger;
      readonly retention?: LogRetention | undefined;
    },
  ) {
    parts.invalidationLog.onLearned((batch) => this.note(batch));
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

  /** How much this process remembers between two ticks, whether it leads or not. */
  get size(): { readonly dueEntries: number; readonly horizons: number } {
    return { dueEntries: this.dueEntries, horizons: this.horizons.length };
  }

  private note(batch: LogBatch): void {
    const now = performance.now();
    const { keepEntries, pruneEveryMs } = this.retention;
    const epoch = epochOf(batch.snapshot);
    if (epoch !== this.epoch) {
      // Transaction ids of another database would prune the wrong entries.
      this.epoch = epoch;
      this.due = [];
      this.dueEntries = 0;
      this.horizons = [];
      this.lowestLeft = 0;
    }
    this.entriesSeen += batch.entries.length;
    // A transaction may commit long after transactions with higher ids.
    for (const { xid } of batch.entries) this.lowestLeft = Math.min(this.lowestLeft, xid);
    if (batch.entries.length > 0) {
      this.due.push({ at: now + SWEEP_AFTER_MS, batch });
      this.dueEntries += batch.entries.length;
      while (this.dueEntries > MAX_DUE_ENTRIES)
        this.dueEntries -= this.due.shift()?.batch.entries.length ?? 0;
    }
    const last = this.horizons.at(-1);
    if (!last || now - last.takenAt > pruneEveryMs || this.entriesSeen - last.entries > keepEntries / 10) {
      this.horizons.push({ takenAt: now, xmax: xmaxOf(batch.snapshot), entries: this.entriesSeen });
    }
    // Of the horizons that are older than every cached value, only the last is needed.
    while (this.horizons[1] && this.isOutlived(this.horizons[1], now)) this.horizons.shift();
  }

  private get retention(): Required<LogRetention> {
    return { keepEntries: KEEP_ENTRIES, pruneEveryMs: PRUNE_EVERY_MS, ...this.parts.retention };
  }

  private isOutlived({ takenAt, entries }: Horizon, now: number): boolean {
    return now - takenAt > KEEP_MS || this.entriesSeen - entries > this.retention.keepEntries;
  }

  private async work(): Promise<void> {
    const now = performance.now();
    const ripe = this.due.filter(({ at }) => at <= now);
    this.due = this.due.filter(({ at }) => at > now);
    this.dueEntries = this.due.reduce((sum, { batch }) => sum + batch.entries.length, 0);
    const isTimeToPrune = now - this.prunedAt > this.retention.pruneEveryMs;
    if ((ripe.length === 0 && !isTimeToPrune) || now < this.leadAgainAt) return;
    try {
      if (!(await this.parts.source.lead())) {
        this.leadAgainAt = now + LEAD_AGAIN_MS;
        // This process does not know which entries another leader leaves behind.
        this.lowestLeft = 0;
        return;
      }
      // Prune first, because the sweep may fail.
      if (isTimeToPrune) await this.prune(now);
      if (ripe.length > 0) await this.sweep(ripe.map(({ batch }) => batch));
    } catch (error) {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.warn({ err: error }, 'Could not maintain the invalidation log');
    }
  }

  private async prune(now: number): Promise<void> {
    this.prunedAt = now;
    const [horizon] = this.horizons;
    if (!horizon || !this.isOutlived(horizon, now)) return;
    const below = horizon.xmax;
    const lowest = this.lowestLeft;
    this.lowestLeft = below;
    try {
      const removed = await this.parts.source.prune(Math.min(lowest, below), below);
      if (removed > 0) this.parts.log.debug({ removed, below }, 'Pruned the invalidation log');
    } catch (error) {
      this.lowestLeft = Math.min(this.lowestLeft, lowest);
      throw error;
    }
  }

  private async sweep(batches: readonly LogBatch[]): Promise<void> {
    const { store, invalidator } = this.parts;
    if (store) await sweep(batches, store, invalidator);
  }
}
