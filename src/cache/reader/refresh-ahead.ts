import { setTimeout as sleep } from 'node:timers/promises';

import { CacheUnavailableError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import type { CacheObserver } from '../core/observer.js';
import type { ValueLife } from '../core/resource.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { BackgroundWork } from './background-work.js';
import type { Entry } from './loaded-value.js';
import type { Reloaded } from './reloads.js';

/** A value that this process has found less often than this is left to expire. */
export const MIN_USES = 3;
/**
 * A value is loaded again when this part of its TTL is left: a random part for each process, so that one of them is
 * first and the others find the new value (as in Vattani and others, "Optimal probabilistic cache stampede
 * prevention", 2015).
 */
const MIN_LEFT = 0.1;
const MAX_LEFT = 0.2;
/** Together with it, values are loaded again of which this part is left: TTLs that began together differ by a tenth. */
const NEAR_LEFT = 0.3;

/** How long values are gathered for one statement (ms). */
const GATHER_MS = 50;
/** How long nothing is loaded after a failure, or if another process is loading the values (ms). */
const PAUSE_MS = 1_000;
const MAX_BATCH = 100;
/** The maximum number of values of one resource that wait to be loaded again; more are left to expire. */
const MAX_WAITING = 1_000;

/**
 * Has values that are read often loaded again before they expire, so that no reader waits for it. Its reloads run one
 * after the other, in batches, behind the requests. If one fails, its values expire, and readers load them.
 */
export class RefreshAhead<Id> {
  /** The values that wait or are being loaded, by key. */
  private readonly wanted = new Map<string, Entry<Id>>();
  private isRunning = false;

  constructor(
    private readonly parts: {
      readonly resource: { readonly name: string; readonly ttlSeconds: number };
      readonly work: BackgroundWork;
      readonly freshness: Pick<Freshness, 'isCurrent'>;
      /** Loads and stores values, except those that are stored and not near their end. */
      readonly reload: (
        entries: readonly Entry<Id>[],
        mayStay: (life: ValueLife) => boolean,
      ) => Promise<Reloaded>;
      readonly observer: CacheObserver;
      readonly log: Logger;
    },
  ) {}

  /** From when on a value is loaded again if it is read often, by the end of its TTL. */
  refreshAtOf(expiresAt: number): number {
    return expiresAt - this.ttlMs * (MIN_LEFT + Math.random() * (MAX_LEFT - MIN_LEFT));
  }

  /**
   * Has a value loaded again soon, if it is near its end. Returns whether it is. A value that seems to have expired was
   * stored by a process with another clock, so nothing is known of its end.
   */
  offer(entry: Entry<Id>, life: ValueLife): boolean {
    if (!this.isNear(life)) return false;
    const { key } = entry.keys;
    if (this.wanted.size >= MAX_WAITING || this.wanted.has(key)) return true;
    this.wanted.set(key, entry);
    if (!this.isRunning) void this.run();
    return true;
  }

  private get ttlMs(): number {
    return this.parts.resource.ttlSeconds * 1_000;
  }

  private isNear({ expiresAt, refreshAt }: ValueLife): boolean {
    const leftMs = expiresAt - Date.now();
    return refreshAt !== Infinity && leftMs > 0 && leftMs < this.ttlMs * NEAR_LEFT;
  }

  /** Loads batches until nothing waits. Never fails. */
  private async run(): Promise<void> {
    const { work } = this.parts;
    this.isRunning = true;
    while (this.wanted.size > 0 && !work.isStopped) {
      await sleep(GATHER_MS, undefined, { ref: false });
      const batch = [...this.wanted.values()].slice(0, MAX_BATCH);
      const isDone = await work.run(async () => await this.refresh(batch));
      if (isDone === false) await sleep(PAUSE_MS, undefined, { ref: false });
      for (const { keys } of batch) this.wanted.delete(keys.key);
    }
    this.isRunning = false;
  }

  /** Returns whether all values were loaded. */
  private async refresh(batch: readonly Entry<Id>[]): Promise<boolean> {
    const { resource, freshness, reload, observer, log } = this.parts;
    if (!freshness.isCurrent) return false;
    try {
      const { loaded, left } = await reload(batch, (life) => !this.isNear(life));
      if (loaded > 0) observer.refreshed(resource.name, 'refreshed', loaded);
      return left === 0;
    } catch (error) {
      // While Redis is away, nothing is refreshed: this is no failure.
      if (error instanceof CacheUnavailableError) return false;
      observer.refreshed(resource.name, 'failed', batch.length);
      log.debug({ err: error, resource: resource.name }, 'Could not load values again before they expire');
      return false;
    }
  }
}
