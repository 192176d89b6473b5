import { setTimeout as sleep } from 'node:timers/promises';

import { rethrowUnlessUnavailable } from '../core/errors.js';
import { freshGeneration } from '../core/fresh-generation.js';
import { SharedDemand } from '../core/demand.js';
import type { CacheObserver, MissReason } from '../core/observer.js';
import { currentWork, within, type Work } from '../core/work.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { CacheStore, ReadOrClaimed, Stored } from '../redis/cache-store.js';
import type { DatabaseFallback } from './database-fallback.js';
import type { ClaimedRead, Fills } from './fills.js';
import { NOT_LOADED, type Entry, type LoadedValue, type PendingRead } from './loaded-value.js';
import { joined, SingleFlight, type Flight, type Load } from './single-flight.js';

/** How long a reader waits for another process to store a value before it loads the value itself (ms, in total). */
const MAX_WAIT_MS = 150;
const FIRST_WAIT_MS = 4;

/** The claims of a batch of values, aligned; undefined if they are not claimed. */
export type Claims = ReadOrClaimed['claims'];

/** The key of a load under way: the value key, the claimed generations, and what changed everything before. */
const flightKey = ({ entry, generation = '', everything }: PendingRead<unknown, unknown>): string =>
  `${entry.keys.key}|${generation}|${everything}`;

/** The current work, done for all who will share its result. */
function sharedWork(): { readonly work: Work | undefined; readonly demand: SharedDemand | undefined } {
  const work = currentWork();
  if (!work?.demand) return { work, demand: undefined };
  const demand = new SharedDemand();
  demand.add(work.demand);
  return { work: { ...work, demand }, demand };
}

/** Completes the reads of one resource that Redis has no usable value for. */
export class MissingReads<Id, Value> {
  /** Loads under way, by value key and generation. */
  private readonly loads = new SingleFlight<LoadedValue<Value>>();

  constructor(
    private readonly parts: {
      readonly resource: { readonly name: string };
      readonly store: CacheStore;
      readonly fills: Fills<Id, Value>;
      readonly databaseFallback: DatabaseFallback<Id, Value>;
      readonly freshness: Freshness;
      readonly observer: CacheObserver;
      readonly tryHit: (entry: Entry<Id>, stored: Stored | undefined) => LoadedValue<Value> | MissReason;
      readonly load: (reads: readonly PendingRead<Id, Value>[]) => Promise<LoadedValue<Value>[]>;
      /** Waits between two reads of another process's value; tests control the time. */
      readonly pause?: ((ms: number) => Promise<unknown>) | undefined;
    },
  ) {}

  /** Joins loads under way where that is allowed, and claims the other values unless they are claimed. */
  async complete(missing: readonly PendingRead<Id, Value>[], claims: Claims): Promise<void> {
    if (claims) return await this.claimAndLoad(missing, claims);
    const pending: Promise<void>[] = [];
    const passing = missing.filter(({ passes }) => passes);
    if (passing.length > 0) pending.push(this.parts.databaseFallback.read(passing));
    const unclaimed = missing.filter((read) => {
      if (read.passes) return false;
      // Every registered load has generations.
      const flight = read.generation === undefined ? undefined : this.loads.get(flightKey(read));
      if (flight) pending.push(this.join(flight, read));
      return flight === undefined;
    });
    if (unclaimed.length > 0) pending.push(this.claimAndLoad(unclaimed));
    await Promise.all(pending);
  }

  /** Completes claimed reads from a load that is under way, and lets later readers join it. */
  async share(claimed: readonly ClaimedRead<Id, Value>[], load: Load<LoadedValue<Value>>): Promise<void> {
    this.loads.set(
      claimed.map(({ read }) => flightKey(read)),
      load,
    );
    const loaded = await joined(load, currentWork()?.demand);
    claimed.forEach(({ read }, i) => {
      read.loaded = loaded[i];
    });
  }

  /** Loads the values that this process claimed, and waits for those that other processes load. */
  private async claimAndLoad(missing: readonly PendingRead<Id, Value>[], claimed?: Claims): Promise<void> {
    const { store, databaseFallback } = this.parts;
    const pending: Promise<void>[] = [];
    const mine: ClaimedRead<Id, Value>[] = [];
    const others: ClaimedRead<Id, Value>[] = [];
    const unclaimed: PendingRead<Id, Value>[] = [];
    const own = currentWork();
    try {
      const keys = missing.map(({ entry }) => entry.keys);
      const claims = claimed ?? (await store.claim(keys, freshGeneration()));
      missing.forEach((read, i) => {
        const claim = claims[i];
        read.generation = claim?.generation;
        const flight = this.loads.get(flightKey(read));
        if (!claim) unclaimed.push(read);
        else if (flight) pending.push(within(own, () => this.join(flight, read)));
        else (claim.mine ? mine : others).push({ read, claim });
      });
    } catch (error) {
      rethrowUnlessUnavailable(error);
      unclaimed.push(...missing);
    }
    if (mine.length > 0) pending.push(within(own, () => this.loadAndFill(mine)));
    if (unclaimed.length > 0) pending.push(within(own, () => databaseFallback.read(unclaimed)));
    if (others.length > 0) {
      const { work, demand } = within(own, sharedWork);
      const batch = within(work, () => this.waitForOthers(others));
      pending.push(within(own, () => this.share(others, { batch, demand })));
    }
    await Promise.all(pending);
  }

  private async loadAndFill(mine: readonly ClaimedRead<Id, Value>[]): Promise<void> {
    const { load, fills } = this.parts;
    const { work, demand } = sharedWork();
    const batch = within(work, () => load(mine.map(({ read }) => read)));
    // If the load fails, its readers get the failure, and nothing is cached.
    void batch.then(
      (loaded) => within(work, () => fills.fill(mine, loaded)),
      () => within(work, () => fills.release(mine)),
    );
    await this.share(mine, { batch, demand });
  }

  private async join(flight: Flight<LoadedValue<Value>>, read: PendingRead<Id, Value>): Promise<void> {
    const { observer, resource, freshness, databaseFallback } = this.parts;
    const own = currentWork();
    observer.joined(resource.name);
    read.outcome = 'joined';
    const loaded = (await joined(flight, own?.demand))[flight.at] ?? NOT_LOADED;
    if (freshness.accepts(read.entry.tags, loaded.snapshot)) read.loaded = loaded;
    else {
      read.outcome = 'loaded';
      await within(own, () => databaseFallback.read([read]));
    }
  }

  /**
   * Polls for the values of the processes that hold the locks, with growing, jittered pauses. Values that are still
   * missing then are loaded here, but not stored, so that this process does not race a slow lock holder. The result
   * is aligned.
   */
  private async waitForOthers(others: readonly ClaimedRead<Id, Value>[]): Promise<LoadedValue<Value>[]> {
    const { pause = sleep, observer, resource, store, tryHit, load } = this.parts;
    const reads = others.map(({ read }) => read);
    const work = currentWork();
    let missing = reads;
    try {
      let pauseMs = FIRST_WAIT_MS;
      for (let waitedMs = 0; missing.length > 0 && waitedMs < MAX_WAIT_MS; pauseMs *= 1.6) {
        const thisPauseMs = pauseMs * (0.75 + Math.random() / 2);
        await pause(thisPauseMs);
        waitedMs += thisPauseMs;
        const keys = missing.map(({ entry }) => entry.keys);
        const stored = await within(work, () => store.read(keys));
        missing = missing.filter((read, i) => {
          const hit = tryHit(read.entry, stored[i]);
          if (typeof hit === 'string') return true;
          observer.waited(resource.name);
          read.outcome = 'waited';
          read.loaded = hit;
          return false;
        });
      }
    } catch (error) {
      rethrowUnlessUnavailable(error);
    }
    if (missing.length > 0) {
      const late = missing;
      const loaded = await within(work, () => load(late));
      missing.forEach((read, i) => {
        read.loaded = loaded[i];
      });
    }
    return reads.map(({ loaded = NOT_LOADED }) => loaded);
  }
}
