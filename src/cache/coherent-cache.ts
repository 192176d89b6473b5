import { setTimeout as sleep } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';

import { LoadedValues, NOT_LOADED, pick, type LoadedValue, type Entry } from './loaded-value.js';
import { DatabaseFallback } from './database-fallback.js';
import { encodeEnvelope, type Envelope } from './envelope.js';
import { freshGeneration } from './fresh-generation.js';
import { CacheUnavailableError } from './errors.js';
import type { Freshness } from './invalidation/invalidation-log.js';
import type { Invalidator } from './invalidation/invalidator.js';
import type { Tag } from './invalidation/tags.js';
import type { KeySpace } from './redis/keys.js';
import type { CacheObserver, MissReason } from './observer.js';
import { EnvelopeParseCache } from './envelope-parse-cache.js';
import { MAX_VALUE_BYTES } from './redis/pieces.js';
import type { ResponseDependencies } from './response/response-dependencies.js';
import type { CacheStore, Claim, Fill, KeyIndex, Lock, Stored } from './redis/redis-store.js';
import { entityIdOf, type CachedResource, type Resource, type Snapshotted } from './resource.js';
import { digestOfShape } from './shape.js';
import { SingleFlight } from './single-flight.js';
import { ValueKeys } from './value-keys.js';

/** Life of "there is no such row", in seconds. */
export const NEGATIVE_TTL_SECONDS = 10;
const TTL_JITTER = 0.1;

/** How long a reader waits for another process to store a value, before it loads it itself (ms, in all). */
const MAX_WAIT_MS = 150;
const FIRST_WAIT_MS = 4;

/** The most ids whose key names and parsed values are remembered, for each resource. */
const MAX_ENTRIES = 5_000;

/** A missing value whose load was claimed under a generation. */
interface Missing<Id> {
  readonly index: number;
  readonly entry: Entry<Id>;
  readonly generation: string;
  readonly lock: Lock;
}

interface CacheParts {
  /** Absent: every read goes to the database. */
  readonly store: CacheStore | undefined;
  readonly keys: KeySpace;
  readonly invalidator: Invalidator;
  readonly freshness: Freshness;
  readonly observer: CacheObserver;
  readonly log: Logger;
  /** How a reader waits for another process; a test decides itself when the time is up. */
  readonly pause?: (ms: number) => Promise<unknown>;
  /** Instead of {@link MAX_ENTRIES}, for which memory is set aside at once: tests make thousands of caches. */
  readonly maxEntries?: number;
}

/**
 * A cache-aside reader that never returns a value older than the last write answered before the read began.
 *
 * A value in Redis carries the generations of its tags, read before the database was; it is a hit only while they are
 * the current ones, and only if the invalidation log knows no write that the value's snapshot has not seen.
 * Concurrent misses share one load, if they saw the same generations. Whatever Redis does, a read is answered from
 * PostgreSQL at worst. Why this holds: `docs/coherence.md`.
 */
export class CoherentCache {
  constructor(private readonly parts: CacheParts) {}

  /** Binds a description to this cache. */
  resource<Id, Value>(
    resource: Resource<Id, Value>,
    valueKeys = this.valueKeysOf(resource),
  ): CachedResource<Id, Value> {
    const reader = new ResourceReader(resource, this.parts, valueKeys);
    return {
      name: resource.name,
      readMany: async (ids, dependencies) => await reader.readMany(ids, dependencies),
      replace: async (id, newer, others) => await reader.replace(id, newer, others),
    };
  }

  /** The keys of a resource's values, which its reader and its invalidation share. */
  valueKeysOf<Id, Value>(resource: Resource<Id, Value>): ValueKeys<Id> {
    return new ValueKeys(this.parts.keys.valueKeyOf(resource), digestOfShape(resource.shape));
  }
}

class ResourceReader<Id, Value> {
  private readonly generationsOf: ((params: { id: string }) => string)[];
  private readonly indexOf: ((entityId: string) => KeyIndex) | undefined;
  private readonly parsed: EnvelopeParseCache<Value>;
  private readonly entries: LRUCache<string, Entry<Id>>;
  /** Loads under way, by value key and generation. */
  private readonly loads = new SingleFlight<LoadedValue<Value>>();
  private readonly databaseFallback: DatabaseFallback<Id, Value>;
  /** The size of the largest value seen so far, in bytes: what is not known yet may be as large. */
  private largestBytes = 512;

  constructor(
    private readonly resource: Resource<Id, Value>,
    private readonly parts: CacheParts,
    private readonly valueKeys: ValueKeys<Id>,
  ) {
    const { keys, maxEntries = MAX_ENTRIES } = parts;
    this.parsed = new EnvelopeParseCache(maxEntries, resource.shape, () => valueKeys.stepAside());
    this.entries = new LRUCache({ max: maxEntries });
    this.generationsOf = resource.tags.map(({ entity, facet }) => keys.generation(entity, facet));
    const entity = resource.tags[0]?.entity ?? resource.name;
    const { maxKeys } = resource;
    if (maxKeys !== undefined) {
      const indexKey = keys.index(entity);
      this.indexOf = (id) => ({ key: indexKey({ id }), maxEntries: maxKeys });
    }
    this.databaseFallback = new DatabaseFallback({
      load: async (entries) => await this.load(entries.map((entry) => ({ entry }))),
      freshness: parts.freshness,
      onJoin: () => parts.observer.joined(resource.name),
    });
  }

  async readMany(
    ids: readonly Id[],
    dependencies: ResponseDependencies | undefined,
  ): Promise<(Value | null)[]> {
    const entries = ids.map((id) => this.entryOf(id));
    const answers = new LoadedValues<Value>();
    await this.read(entries, answers);
    return entries.map((entry, index) => {
      const { value, generation, snapshot, expiresAt } = answers.at(index);
      if (generation === undefined) dependencies?.markUncacheable();
      else dependencies?.add(entry.tags, entry.slot.generations, { generation, snapshot, expiresAt });
      return value;
    });
  }

  private async read(entries: readonly Entry<Id>[], answers: LoadedValues<Value>): Promise<void> {
    const { store, observer } = this.parts;
    let stored: Stored[];
    try {
      if (!store) throw new CacheUnavailableError('off');
      stored = await store.read(entries.map((entry) => entry.slot));
    } catch (error) {
      rethrowUnlessUnavailable(error);
      observer.miss(this.resource.name, 'unavailable', entries.length);
      await this.databaseFallback.read(entries, [...entries.keys()], answers);
      return;
    }
    const missing: number[] = [];
    const reasons: MissReason[] = [];
    entries.forEach((entry, index) => {
      const hit = this.tryHit(entry, stored[index]);
      if (typeof hit === 'string') {
        reasons.push(hit);
        missing.push(index);
      } else answers.set(index, hit);
    });
    for (const reason of new Set(reasons)) {
      observer.miss(this.resource.name, reason, reasons.filter((each) => each === reason).length);
    }
    if (missing.length < entries.length) observer.hit(this.resource.name, entries.length - missing.length);
    if (missing.length > 0) await this.readMissing(store, entries, stored, missing, answers);
  }

  private entryOf(asked: Id): Entry<Id> {
    const known = this.entries.get(this.valueKeys.of(asked));
    if (known) return known;
    // What was cut out of a document keeps all of the document in memory: what stays here is a copy.
    const id = structuredClone(asked);
    const key = this.valueKeys.of(id);
    const entityId = entityIdOf(this.resource, id);
    const entry = {
      id,
      tags: this.resource.tags.map((family) => family.of(entityId)),
      slot: {
        entityId,
        key,
        generations: this.generationsOf.map((generation) => generation({ id: entityId })),
        index: this.indexOf?.(entityId),
        bytes: this.largestBytes,
      },
    };
    this.entries.set(key, entry);
    return entry;
  }

  /** The stored value, if it may be used; otherwise why not. */
  private tryHit(entry: Entry<Id>, stored: Stored | undefined): LoadedValue<Value> | MissReason {
    if (!stored?.raw) return 'absent';
    const { raw, generation } = stored;
    entry.slot.bytes = raw.length;
    if (raw.length > this.largestBytes) this.largestBytes = raw.length;
    if (generation === undefined) return 'outdated';
    const parsed = this.parsed.parse(entry.slot.key, raw, generation);
    if (!parsed) return 'outdated';
    return this.parts.freshness.accepts(entry.tags, parsed.snapshot) ? parsed : 'distrusted';
  }

  /** Joins the loads that may be joined, and claims the others. */
  private async readMissing(
    store: CacheStore,
    entries: readonly Entry<Id>[],
    stored: readonly Stored[],
    missing: readonly number[],
    answers: LoadedValues<Value>,
  ): Promise<void> {
    const pending: Promise<void>[] = [];
    const unclaimed: number[] = [];
    for (const index of missing) {
      const generation = stored[index]?.generation;
      const entry = entries[index] as Entry<Id>;
      const flight = generation === undefined ? undefined : this.loads.get(flightKey(entry, generation));
      if (flight) pending.push(this.join(flight, entries, index, answers));
      else unclaimed.push(index);
    }
    if (unclaimed.length > 0) pending.push(this.claimAndLoad(store, entries, unclaimed, answers));
    await Promise.all(pending);
  }

  private async claimAndLoad(
    store: CacheStore,
    entries: readonly Entry<Id>[],
    missing: readonly number[],
    answers: LoadedValues<Value>,
  ): Promise<void> {
    const slots = missing.map((index) => (entries[index] as Entry<Id>).slot);
    let claims: (Claim | undefined)[];
    try {
      claims = await store.claim(slots, freshGeneration());
    } catch (error) {
      rethrowUnlessUnavailable(error);
      await this.databaseFallback.read(entries, missing, answers);
      return;
    }
    const pending: Promise<void>[] = [];
    const mine: Missing<Id>[] = [];
    const others: Missing<Id>[] = [];
    const unclaimed: number[] = [];
    claims.forEach((claim, i) => {
      const index = missing[i] as number;
      if (!claim) {
        unclaimed.push(index);
        return;
      }
      const { generation, lock, mine: isMine } = claim;
      const entry = entries[index] as Entry<Id>;
      const flight = this.loads.get(flightKey(entry, generation));
      if (flight) pending.push(this.join(flight, entries, index, answers));
      else (isMine ? mine : others).push({ index, entry, generation, lock });
    });
    if (mine.length > 0) {
      const loading = this.load(mine);
      this.share(mine, loading, pending, answers);
      void loading.then(
        (loaded) => this.fill(store, mine, loaded),
        // The readers get the failure, and nothing is cached; who comes next need not wait for the locks to run out.
        () => this.release(store, mine),
      );
    }
    if (unclaimed.length > 0) pending.push(this.databaseFallback.read(entries, unclaimed, answers));
    if (others.length > 0) this.share(others, this.waitForOthers(store, others), pending, answers);
    await Promise.all(pending);
  }

  /** Lets later readers join a batch that is under way. */
  private share(
    missing: readonly Missing<Id>[],
    batch: Promise<readonly LoadedValue<Value>[]>,
    pending: Promise<void>[],
    answers: LoadedValues<Value>,
  ): void {
    missing.forEach(({ entry, index, generation }, i) => {
      const flight = pick(batch, i);
      this.loads.set(flightKey(entry, generation), flight);
      pending.push(flight.then((answer) => answers.set(index, answer)));
    });
  }

  private async join(
    flight: Promise<LoadedValue<Value>>,
    entries: readonly Entry<Id>[],
    index: number,
    answers: LoadedValues<Value>,
  ): Promise<void> {
    this.parts.observer.joined(this.resource.name);
    const answer = await flight;
    const entry = entries[index] as Entry<Id>;
    if (this.parts.freshness.accepts(entry.tags, answer.snapshot)) answers.set(index, answer);
    else await this.databaseFallback.read(entries, [index], answers);
  }

  /**
   * Waits for the processes that hold the locks, looking for their values with growing, jittered pauses; what is still
   * missing then is loaded here, and not stored, so that a slow loader is not raced.
   */
  private async waitForOthers(
    store: CacheStore,
    others: readonly Missing<Id>[],
  ): Promise<LoadedValue<Value>[]> {
    const { pause = sleep } = this.parts;
    const found = new Map<number, LoadedValue<Value>>();
    let missing = [...others.keys()];
    const missingOnes = () => missing.map((i) => others[i] as Missing<Id>);
    try {
      let pauseMs = FIRST_WAIT_MS;
      for (let waitedMs = 0; missing.length > 0 && waitedMs < MAX_WAIT_MS; pauseMs *= 1.6) {
        const thisPauseMs = pauseMs * (0.75 + Math.random() / 2);
        await pause(thisPauseMs);
        waitedMs += thisPauseMs;
        const stored = await store.read(missingOnes().map(({ entry }) => entry.slot));
        missing = missing.filter((i, position) => {
          const hit = this.tryHit((others[i] as Missing<Id>).entry, stored[position]);
          if (typeof hit === 'string') return true;
          this.parts.observer.waited(this.resource.name);
          found.set(i, hit);
          return false;
        });
      }
    } catch (error) {
      rethrowUnlessUnavailable(error);
    }
    if (missing.length > 0) {
      const loaded = await this.load(missingOnes());
      missing.forEach((i, position) => found.set(i, loaded[position] ?? NOT_LOADED));
    }
    return others.map((_, i) => found.get(i) ?? NOT_LOADED);
  }

  /** Reads from the database what was claimed under generations, or (without one) what is asked for beside Redis. */
  private async load(
    missing: readonly { readonly entry: Entry<Id>; readonly generation?: string }[],
  ): Promise<LoadedValue<Value>[]> {
    this.parts.observer.loaded(this.resource.name, missing.length);
    const loaded = await this.resource.load(missing.map(({ entry }) => entry.id));
    return missing.map(({ generation }, i) => {
      const { value, snapshot, version = 0 } = loaded[i] ?? NOT_LOADED;
      return { value, snapshot, version, generation, expiresAt: this.expiryOf(value) };
    });
  }

  /** When the life of a value that is loaded now ends (ms since 1970). */
  private expiryOf(value: Value | null): number {
    const { ttlSeconds } = this.resource;
    const seconds = value === null ? Math.min(ttlSeconds, NEGATIVE_TTL_SECONDS) : ttlSeconds;
    return Date.now() + Math.ceil(seconds * 1_000 * (1 - Math.random() * TTL_JITTER));
  }

  /** See {@link CachedResource.replace}. */
  async replace(id: Id, newer: Snapshotted<Value>, further: readonly Tag[] = []): Promise<void> {
    const { store, invalidator } = this.parts;
    const { slot, tags } = this.entryOf(id);
    const { value, snapshot, version = 0 } = newer;
    const allTags = [...tags, ...further];
    if (!store) return;
    if (tags.length !== 1 || version === 0 || value === null) {
      await invalidator.invalidate(allTags);
      return;
    }
    const token = freshGeneration();
    const expiresAt = this.expiryOf(value);
    const envelope = this.envelope({ generation: token, snapshot, expiresAt, version, value });
    if (Buffer.byteLength(envelope) > MAX_VALUE_BYTES) {
      this.noteTooLarge(1);
      await invalidator.invalidate(allTags);
      return;
    }
    const { values, indexes } = invalidator.targetsOf(tags[0] ?? '');
    const others = values.filter((key) => key !== slot.key);
    const ttlMs = Math.max(1, expiresAt - Date.now());
    const replacement = { token, envelope, ttlMs, version };
    const removals = invalidator.removalsOf(further);
    await invalidator.orKeepPending(allTags, store.replace(slot, others, replacement, indexes, removals));
  }

  private envelope(envelope: Omit<Envelope<Value>, 'shape'>): string {
    return encodeEnvelope({ ...envelope, shape: this.valueKeys.shape });
  }

  private async fill(
    store: CacheStore,
    mine: readonly Missing<Id>[],
    loaded: readonly LoadedValue<Value>[],
  ): Promise<void> {
    const now = Date.now();
    const fills = mine.map(({ entry, generation, lock }, i): Fill => {
      const { value, snapshot, expiresAt, version } = loaded[i] ?? NOT_LOADED;
      const envelope = this.envelope({ generation, snapshot, expiresAt, version, value });
      return {
        slot: entry.slot,
        generation,
        lock,
        envelope,
        bytes: Buffer.byteLength(envelope),
        ttlMs: Math.max(1, expiresAt - now),
        exists: value !== null,
      };
    });
    const storable = fills.filter(({ bytes }) => bytes <= MAX_VALUE_BYTES);
    try {
      if (storable.length > 0) await store.fill(storable);
      if (storable.length === fills.length) return;
      this.noteTooLarge(fills.length - storable.length);
      // A fill frees its lock. The others would keep readers waiting for values that do not come.
      const freed = new Set(storable.map(({ lock }) => lock));
      const held = new Set(fills.map(({ lock }) => lock).filter((lock) => !freed.has(lock)));
      if (held.size > 0) await store.release([...held]);
    } catch (error) {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.error({ err: error, resource: this.resource.name }, 'Could not store loaded values');
    }
  }

  private noteTooLarge(count: number): void {
    this.parts.observer.tooLarge(this.resource.name, count);
    this.parts.log.debug({ resource: this.resource.name, count }, 'Values are too large to be stored');
  }

  private async release(store: CacheStore, mine: readonly Missing<Id>[]): Promise<void> {
    try {
      await store.release([...new Set(mine.map(({ lock }) => lock))]);
    } catch (error) {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.error(
        { err: error, resource: this.resource.name },
        'Could not free the locks of a failed load',
      );
    }
  }
}

const flightKey = (entry: Entry<unknown>, generation: string): string => `${entry.slot.key}|${generation}`;

function rethrowUnlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
