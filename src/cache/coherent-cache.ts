import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';

import { encodeEnvelope, openEnvelope, readEnvelopeData } from './envelope.js';
import { CacheUnavailableError } from './errors.js';
import type { Freshness } from './invalidation-log.js';
import type { KeySpace } from './keys.js';
import type { CacheObserver, MissReason } from './observer.js';
import type { Fill, RedisStore, Slot, Stored } from './redis-store.js';
import type { CachedResource, Resource, Snapshotted } from './resource.js';
import { SingleFlight } from './single-flight.js';
import type { Tag } from './tags.js';

/** Life of "there is no such row", in seconds. */
export const NEGATIVE_TTL_SECONDS = 10;
const TTL_JITTER = 0.1;

/** How long a reader waits for another process to store a value, before it loads it itself (ms, in all). */
const LONGEST_WAIT_MS = 150;
const FIRST_WAIT_MS = 4;

interface Entry<Id> {
  readonly id: Id;
  readonly slot: Slot;
  readonly tags: readonly Tag[];
}

type Settle<Value> = (index: number, value: Value | null) => void;

/**
 * A cache-aside reader that never returns a value older than the last write answered before the read began.
 *
 * A value in Redis carries the generations of its tags, read before the database was; it is a hit only while they are
 * the current ones, and only if the invalidation log knows no write that the value's snapshot has not seen.
 * Concurrent misses share one load, if they saw the same generations. Whatever Redis does, a read is answered from
 * PostgreSQL at worst. Why this holds: `docs/coherence.md`.
 */
export class CoherentCache {
  constructor(
    private readonly parts: {
      /** Absent: every read goes to the database. */
      readonly store: RedisStore | undefined;
      readonly keys: KeySpace;
      readonly freshness: Freshness;
      readonly observer: CacheObserver;
      readonly log: Logger;
    },
  ) {}

  /** Binds a description to this cache. */
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> {
    const reader = new ResourceReader(resource, this.parts);
    return { name: resource.name, readMany: async (ids) => await reader.readMany(ids) };
  }
}

type Parts = ConstructorParameters<typeof CoherentCache>[0];

class ResourceReader<Id, Value> {
  private readonly keyOf: (id: Id) => string;
  private readonly generationsOf: ((params: { id: string }) => string)[];
  private readonly indexOf: ((params: { id: string }) => string) | undefined;
  /** Loads under way, by value key and generation. */
  private readonly loads = new SingleFlight<Snapshotted<Value>>();
  /** Loads under way that no generation vouches for, because Redis is away; by value key. */
  private readonly directLoads = new Map<
    string,
    { startedAt: number; result: Promise<Snapshotted<Value>> }
  >();

  constructor(
    private readonly resource: Resource<Id, Value>,
    private readonly parts: Parts,
  ) {
    const { keys } = parts;
    this.keyOf = resource.key(keys);
    this.generationsOf = resource.dependsOn.map(({ entity, facet }) => keys.generation(entity, facet));
    const entity = resource.dependsOn[0]?.entity ?? resource.name;
    this.indexOf = resource.indexed === true ? keys.index(entity) : undefined;
  }

  async readMany(ids: readonly Id[]): Promise<(Value | null)[]> {
    const entries = ids.map((id) => this.entryOf(id));
    const values = Array.from<Value | null>({ length: entries.length }).fill(null);
    const settle: Settle<Value> = (index, value) => {
      values[index] = value;
    };
    const { store } = this.parts;
    const everyIndex = entries.map((_, index) => index);
    if (store === undefined) {
      await this.readDirectly(entries, everyIndex, settle, 'unavailable');
      return values;
    }
    let stored: Stored[];
    try {
      stored = await store.read(entries.map((entry) => entry.slot));
    } catch (error) {
      rethrowUnlessUnavailable(error);
      await this.readDirectly(entries, everyIndex, settle, 'unavailable');
      return values;
    }
    const missing = everyIndex.filter((index) => !this.settleHit(entries, stored, index, settle));
    if (missing.length > 0) await this.readMissing(store, entries, stored, missing, settle);
    return values;
  }

  private entryOf(id: Id): Entry<Id> {
    const key = this.keyOf(id);
    const entityId = this.resource.entityId(id);
    return {
      id,
      tags: this.resource.dependsOn.map((family) => family.of(entityId)),
      slot: {
        entityId,
        key,
        lock: this.parts.keys.lock(key),
        generations: this.generationsOf.map((generation) => generation({ id: entityId })),
        index: this.indexOf?.({ id: entityId }),
      },
    };
  }

  private settleHit(
    entries: readonly Entry<Id>[],
    stored: readonly Stored[],
    index: number,
    settle: Settle<Value>,
  ): boolean {
    const reason = this.tryHit(entries[index], stored[index], (value) => settle(index, value));
    if (reason === undefined) this.parts.observer.hit(this.resource.name);
    else this.parts.observer.miss(this.resource.name, reason);
    return reason === undefined;
  }

  /** Uses a stored value if it may be used; otherwise says why not. */
  private tryHit(
    entry: Entry<Id> | undefined,
    stored: Stored | undefined,
    use: (value: Value | null) => void,
  ): MissReason | undefined {
    if (!entry || !stored?.raw) return 'absent';
    if (stored.generation === undefined) return 'outdated';
    const opened = openEnvelope(stored.raw, stored.generation);
    if (!opened) return 'outdated';
    if (!this.parts.freshness.accepts(entry.tags, opened.snapshot)) return 'distrusted';
    const value = readEnvelopeData<Value>(stored.raw, opened.dataStart);
    if (value === undefined) return 'outdated';
    use(value);
    return undefined;
  }

  /** Joins the loads that may be joined, and claims the others. */
  private async readMissing(
    store: RedisStore,
    entries: readonly Entry<Id>[],
    stored: readonly Stored[],
    missing: readonly number[],
    settle: Settle<Value>,
  ): Promise<void> {
    const pending: Promise<void>[] = [];
    const unclaimed: number[] = [];
    for (const index of missing) {
      const entry = entries[index] as Entry<Id>;
      const generation = stored[index]?.generation;
      const flight = generation === undefined ? undefined : this.loads.get(flightKey(entry, generation));
      if (flight) pending.push(this.join(flight, entries, index, settle));
      else unclaimed.push(index);
    }
    if (unclaimed.length > 0) pending.push(this.claimAndLoad(store, entries, unclaimed, settle));
    await Promise.all(pending);
  }

  private async claimAndLoad(
    store: RedisStore,
    entries: readonly Entry<Id>[],
    missing: readonly number[],
    settle: Settle<Value>,
  ): Promise<void> {
    const slots = missing.map((index) => (entries[index] as Entry<Id>).slot);
    let claims;
    try {
      claims = await store.claim(slots, freshToken());
    } catch (error) {
      rethrowUnlessUnavailable(error);
      await this.readDirectly(entries, missing, settle, undefined);
      return;
    }
    const pending: Promise<void>[] = [];
    const mine: { index: number; entry: Entry<Id>; generation: string }[] = [];
    const others: { index: number; entry: Entry<Id>; generation: string }[] = [];
    claims.forEach((claim, i) => {
      const index = missing[i] as number;
      const entry = entries[index] as Entry<Id>;
      const flight = this.loads.get(flightKey(entry, claim.generation));
      if (flight) pending.push(this.join(flight, entries, index, settle));
      else (claim.mine ? mine : others).push({ index, entry, generation: claim.generation });
    });
    if (mine.length > 0) {
      const loading = this.load(mine.map(({ entry }) => entry));
      mine.forEach((each, i) => this.register(each, pick(loading, i), pending, settle));
      void loading.then(
        (loaded) => this.fill(store, mine, loaded),
        // The readers get the failure; nothing is cached, and the locks run out.
        () => undefined,
      );
    }
    if (others.length > 0) {
      const waiting = this.waitForOthers(store, others);
      others.forEach((each, i) => this.register(each, pick(waiting, i), pending, settle));
    }
    await Promise.all(pending);
  }

  private register(
    { entry, index, generation }: { entry: Entry<Id>; index: number; generation: string },
    flight: Promise<Snapshotted<Value>>,
    pending: Promise<void>[],
    settle: Settle<Value>,
  ): void {
    this.loads.set(flightKey(entry, generation), flight);
    pending.push(flight.then(({ value }) => settle(index, value)));
  }

  private async join(
    flight: Promise<Snapshotted<Value>>,
    entries: readonly Entry<Id>[],
    index: number,
    settle: Settle<Value>,
  ): Promise<void> {
    this.parts.observer.joined(this.resource.name);
    const { value, snapshot } = await flight;
    const entry = entries[index] as Entry<Id>;
    if (this.parts.freshness.accepts(entry.tags, snapshot)) settle(index, value);
    else await this.readDirectly(entries, [index], settle, undefined);
  }

  /**
   * Waits for the processes that hold the locks, looking for their values with growing, jittered pauses; what is still
   * missing then is loaded here, and not stored, so that a slow loader is not raced.
   */
  private async waitForOthers(
    store: RedisStore,
    others: readonly { entry: Entry<Id>; generation: string }[],
  ): Promise<Snapshotted<Value>[]> {
    const results = others.map((): Snapshotted<Value> | undefined => undefined);
    let missing = others.map((_, i) => i);
    try {
      let pauseMs = FIRST_WAIT_MS;
      for (let waitedMs = 0; missing.length > 0 && waitedMs < LONGEST_WAIT_MS; pauseMs *= 1.6) {
        const thisPauseMs = pauseMs * (0.75 + Math.random() / 2);
        await pause(thisPauseMs);
        waitedMs += thisPauseMs;
        const stored = await store.read(missing.map((i) => (others[i] as { entry: Entry<Id> }).entry.slot));
        missing = missing.filter((i, position) => {
          const entry = others[i]?.entry;
          const found = stored[position];
          const reason = this.tryHit(entry, found, (value) => {
            results[i] = {
              value,
              snapshot: openEnvelope(found?.raw ?? '', found?.generation ?? '')?.snapshot ?? '',
            };
          });
          if (reason === undefined) this.parts.observer.waited(this.resource.name);
          return reason !== undefined;
        });
      }
    } catch (error) {
      rethrowUnlessUnavailable(error);
    }
    if (missing.length > 0) {
      const loaded = await this.load(missing.map((i) => (others[i] as { entry: Entry<Id> }).entry));
      missing.forEach((i, position) => {
        results[i] = loaded[position] ?? MISALIGNED;
      });
    }
    return results as Snapshotted<Value>[];
  }

  private async load(entries: readonly Entry<Id>[]): Promise<readonly Snapshotted<Value>[]> {
    this.parts.observer.loaded(this.resource.name, entries.length);
    return await this.resource.load(entries.map((entry) => entry.id));
  }

  private async fill(
    store: RedisStore,
    mine: readonly { entry: Entry<Id>; generation: string }[],
    loaded: readonly Snapshotted<Value>[],
  ): Promise<void> {
    const fills = mine.map(({ entry, generation }, i): Fill => {
      const { value, snapshot } = loaded[i] ?? MISALIGNED;
      const ttlSeconds =
        value === null ? Math.min(this.resource.ttlSeconds, NEGATIVE_TTL_SECONDS) : this.resource.ttlSeconds;
      return {
        slot: entry.slot,
        generation,
        envelope: encodeEnvelope({ generation, snapshot, value }),
        ttlMs: Math.ceil(ttlSeconds * 1_000 * (1 - Math.random() * TTL_JITTER)),
      };
    });
    try {
      await store.fill(fills);
    } catch (error) {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.error({ err: error, resource: this.resource.name }, 'Could not store loaded values');
    }
  }

  /**
   * Reads from the database without Redis. Readers share a load that is under way, but a reader that came after it
   * began accepts its result only if the invalidation log, read again since then, knows no newer write.
   */
  private async readDirectly(
    entries: readonly Entry<Id>[],
    indexes: readonly number[],
    settle: Settle<Value>,
    reason: MissReason | undefined,
  ): Promise<void> {
    const { observer, freshness } = this.parts;
    const arrivedAt = performance.now();
    let missing = [...indexes];
    if (reason) for (let i = 0; i < missing.length; i++) observer.miss(this.resource.name, reason);
    while (missing.length > 0) {
      const toLoad = missing.filter((index) => !this.directLoads.has((entries[index] as Entry<Id>).slot.key));
      if (toLoad.length > 0) this.startDirectLoad(toLoad.map((index) => entries[index] as Entry<Id>));
      const flights = missing.map((index) => {
        const entry = entries[index] as Entry<Id>;
        const flight = this.directLoads.get(entry.slot.key);
        return { index, entry, startedAt: flight?.startedAt ?? 0, result: flight?.result };
      });
      const results = await Promise.all(flights.map(async ({ result }) => await result));
      if (flights.some(({ startedAt }) => startedAt < arrivedAt)) await freshness.confirm();
      missing = [];
      flights.forEach(({ index, entry, startedAt }, i) => {
        const result = results[i];
        if (result && (startedAt >= arrivedAt || freshness.accepts(entry.tags, result.snapshot))) {
          if (startedAt < arrivedAt) observer.joined(this.resource.name);
          settle(index, result.value);
        } else missing.push(index);
      });
    }
  }

  private startDirectLoad(entries: readonly Entry<Id>[]): void {
    const startedAt = performance.now();
    const loading = this.load(entries);
    entries.forEach((entry, i) => {
      const { key } = entry.slot;
      const flight = { startedAt, result: pick(loading, i) };
      this.directLoads.set(key, flight);
      const forget = () => {
        if (this.directLoads.get(key) === flight) this.directLoads.delete(key);
      };
      flight.result.then(forget, forget);
    });
  }
}

const flightKey = (entry: Entry<unknown>, generation: string): string => `${entry.slot.key}|${generation}`;

/** 96 random bits: a generation is never used twice, not even after it was evicted. */
const freshToken = (): string => randomBytes(12).toString('base64url');

/** The i-th result of a batch that is under way. */
const pick = async <Value>(
  batch: Promise<readonly Snapshotted<Value>[]>,
  i: number,
): Promise<Snapshotted<Value>> => (await batch)[i] ?? MISALIGNED;

/** A load that returned too few values: treated as missing rows that no snapshot vouches for. */
const MISALIGNED: Snapshotted<never> = { value: null, snapshot: '' };

function rethrowUnlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
