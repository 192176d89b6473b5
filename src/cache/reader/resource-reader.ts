import type { Logger } from '../core/logger.js';

import { CachingPolicy } from './caching-policy.js';
import { DatabaseFallback } from './database-fallback.js';
import { Entries } from './entries.js';
import { EnvelopeParseCache } from './envelope-parse-cache.js';
import { CacheUnavailableError, rethrowUnlessUnavailable } from '../core/errors.js';
import { Fills } from './fills.js';
import { freshGeneration } from '../core/fresh-generation.js';
import type { Helping } from '../invalidation/helping.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import { jitterOf } from '../core/jitter.js';
import type { Invalidator } from '../invalidation/invalidator.js';
import type { Tag } from '../core/tags.js';
import { NOT_LOADED, type Entry, type LoadedValue, type PendingRead } from './loaded-value.js';
import type { CacheObserver, MissReason } from '../core/observer.js';
import type { CacheStore, ReadOrClaimed, Stored } from '../redis/cache-store.js';
import type { KeySpace } from '../core/keys.js';
import { parseMoment } from '../core/moment.js';
import type { ReadDependencies, Resource, Snapshotted, ValueLife } from '../core/resource.js';
import { currentWork, traced, within } from '../core/work.js';
import type { BackgroundWork } from './background-work.js';
import { MIN_USES, RefreshAhead } from './refresh-ahead.js';
import { MissingReads, type Claims } from './missing-reads.js';
import { Reloads } from './reloads.js';
import type { ValueKeys } from './value-keys.js';

/** TTL of "there is no such row", in seconds. */
const NEGATIVE_TTL_SECONDS = 10;
const TTL_JITTER = 0.1;

/** The maximum number of ids whose key names and parsed values are remembered, for each resource. */
const MAX_ENTRIES = 5_000;

export interface CacheParts {
  /** Undefined: every read goes to the database. */
  readonly store: CacheStore | undefined;
  readonly keys: KeySpace;
  readonly invalidator: Invalidator;
  readonly freshness: Freshness;
  readonly helping: Pick<Helping, 'since' | 'admit'>;
  readonly observer: CacheObserver;
  readonly log: Logger;
  /** Where values that are read often are loaded again before they expire; undefined: all are left to expire. */
  readonly refreshing?: BackgroundWork | undefined;
  /** Is told the key of every hit. */
  readonly onHit?: ((key: string) => void) | undefined;
  /** Waits between two reads of another process's value; tests control the time. */
  readonly pause?: (ms: number) => Promise<unknown>;
  /** Overrides {@link MAX_ENTRIES}, for which memory is allocated at once: tests make thousands of caches. */
  readonly maxEntries?: number;
}

/**
 * Reads one resource from Redis, or else from the database, and fills Redis. It implements the read path of
 * `docs/coherence.md`.
 */
export class ResourceReader<Id, Value> {
  private readonly entries: Entries<Id>;
  private readonly parsed: EnvelopeParseCache<Value>;
  private readonly databaseFallback: DatabaseFallback<Id, Value>;
  private readonly fills: Fills<Id, Value> | undefined;
  private readonly missingReads: MissingReads<Id, Value> | undefined;
  private readonly reloads: Reloads<Id, Value> | undefined;
  private readonly refreshAhead: RefreshAhead<Id> | undefined;
  readonly policy = new CachingPolicy();

  constructor(
    private readonly resource: Resource<Id, Value>,
    private readonly parts: CacheParts,
    private readonly valueKeys: ValueKeys<Id>,
  ) {
    const { keys, maxEntries = MAX_ENTRIES, store } = parts;
    this.entries = new Entries(
      resource,
      valueKeys,
      keys,
      maxEntries,
      (entry, life) => this.offerRefresh(entry, life),
      (count) => this.policy.hit(count),
    );
    this.parsed = new EnvelopeParseCache(
      maxEntries,
      resource.shape,
      (expiresAt) => this.refreshAtOf(expiresAt),
      () => valueKeys.stepAside(),
    );
    this.databaseFallback = new DatabaseFallback({
      load: async (entries) => await this.load(entries.map((entry) => ({ entry, generation: undefined }))),
      freshness: parts.freshness,
      onJoin: () => parts.observer.joined(resource.name),
    });
    if (!store) return;
    const fills = new Fills<Id, Value>({
      ...parts,
      store,
      resource,
      shape: valueKeys.shape,
      onStored: (count, ms) => this.policy.stored(count, ms),
    });
    const reading = {
      store,
      fills,
      tryHit: this.tryHit.bind(this),
      load: async (reads: readonly PendingRead<Id, Value>[]) => await this.load(reads),
    };
    const { databaseFallback } = this;
    const missingReads = new MissingReads<Id, Value>({ ...parts, ...reading, resource, databaseFallback });
    const reloads = new Reloads<Id, Value>({
      ...reading,
      share: async (claimed, batch) => await missingReads.share(claimed, { batch, demand: undefined }),
    });
    [this.fills, this.missingReads, this.reloads] = [fills, missingReads, reloads];
    if (!parts.refreshing) return;
    this.refreshAhead = new RefreshAhead({
      ...parts,
      resource,
      work: parts.refreshing,
      reload: async (entries, mayStay) => await reloads.reload(entries, mayStay),
    });
  }

  async readMany(ids: readonly Id[], dependencies: ReadDependencies | undefined): Promise<(Value | null)[]> {
    const startedAt = dependencies?.onRead && performance.now();
    const reads = this.begin(
      ids.map((id) => this.entries.of(id)),
      dependencies,
    );
    const part = { kind: 'read', resource: this.resource.name, keys: ids.length } as const;
    await traced(part, () => this.read(reads));
    if (startedAt !== undefined) this.report(ids, reads, performance.now() - startedAt, dependencies);
    const { name: resource } = this.resource;
    return reads.map(({ entry, loaded = NOT_LOADED }) => {
      const { value, generation, snapshot, expiresAt, refreshAt } = loaded;
      const { tags, keys } = entry;
      const { key, generations: generationKeys } = keys;
      const cached = { resource, key, tags, generationKeys, generation, snapshot };
      dependencies?.add({ ...cached, expiresAt, refreshAt, usage: entry });
      return value;
    });
  }

  /**
   * Decides which values are returned without being stored: those that are seldom read again, and the values of a
   * response that has such a value, if this process has not looked most of them up before. One statement loads these
   * values, so all of them are stored, or none.
   */
  private begin(
    entries: readonly Entry<Id>[],
    dependencies: ReadDependencies | undefined,
  ): PendingRead<Id, Value>[] {
    const { seldomReadAgain } = this.resource;
    const areMostNew = () => entries.filter(({ wasRead }) => !wasRead).length > entries.length / 2;
    const allPass = dependencies?.isSeldomReadAgain === true && areMostNew();
    return entries.map((entry) => {
      const isSeldomReadAgain = !entry.wasRead && seldomReadAgain?.(entry.id) === true;
      if (isSeldomReadAgain && dependencies) dependencies.isSeldomReadAgain = true;
      const passes = allPass || isSeldomReadAgain || !this.policy.storesKey(entry.keys.key);
      entry.reads += 1;
      return {
        entry,
        generation: undefined,
        everything: '',
        passes,
        missed: undefined,
        outcome: 'loaded',
        loaded: undefined,
      };
    });
  }

  private report(
    ids: readonly Id[],
    reads: readonly PendingRead<Id, Value>[],
    ms: number,
    dependencies: ReadDependencies | undefined,
  ): void {
    const now = Date.now();
    reads.forEach(({ entry, outcome, missed, loaded = NOT_LOADED }, i) => {
      const ttlMs = loaded.expiresAt - now;
      const ageMs = this.ttlOf(entry, loaded.value) - ttlMs;
      const { tags, keys } = entry;
      const { name: resource } = this.resource;
      dependencies?.onRead?.(ids[i], { resource, key: keys.key, outcome, missed, tags, ageMs, ttlMs, ms });
    });
  }

  /** See {@link CachedResource.lastSeen}. */
  lastSeen(id: Id): Value | undefined {
    return this.parsed.lastSeen(this.valueKeys.of(id));
  }

  /** See {@link CachedResource.refresh}. */
  async refresh(ids: readonly Id[]): Promise<number> {
    const entries = ids.map((id) => this.entries.of(id));
    return (await this.reloads?.reload(entries, () => false))?.loaded ?? 0;
  }

  /** See {@link CachedResource.warm}. */
  async warm(ids: readonly Id[]): Promise<number> {
    const { store } = this.parts;
    if (!store) return 0;
    const entries = ids.map((id) => this.entries.of(id));
    const stored = await store.read(entries.map(({ keys }) => keys));
    const missing = entries.filter((entry, i) => typeof this.tryHit(entry, stored[i]) === 'string');
    if (missing.length === 0) return 0;
    return (await this.reloads?.reload(missing, () => true))?.loaded ?? 0;
  }

  /** Counts the reads of values that are worth loading before they are asked for. */
  takeReads(each: (key: string, reads: number) => void): void {
    const { seldomReadAgain, idOf } = this.resource;
    this.entries.takeReads(({ id, keys }, reads) => {
      if (idOf && seldomReadAgain?.(id) !== true) each(keys.key, reads);
    });
  }

  /** See {@link CachedResource.replace}. */
  async replace(id: Id, newer: Snapshotted<Value>, others: readonly Tag[] = []): Promise<void> {
    const { value, version = 0 } = newer;
    const { snapshot } = parseMoment(newer.snapshot);
    const work = currentWork();
    await this.parts.helping.admit([newer.snapshot]);
    const entry = this.entries.of(id);
    const life = this.lifeOf(entry, value);
    const loaded = { value, snapshot, version, generation: undefined, ...life, uses: 0 };
    await within(work, () => this.fills?.replace(entry, loaded, others));
  }

  /** Completes reads with the values in Redis that may be used; {@link readMissing} completes the others. */
  private async read(reads: readonly PendingRead<Id, Value>[]): Promise<void> {
    const { store, observer, onHit } = this.parts;
    const { name } = this.resource;
    const work = currentWork();
    let stored: readonly Stored[];
    let claims: Claims;
    try {
      if (!store) throw new CacheUnavailableError('off');
      ({ stored, claims } = await this.look(store, reads));
    } catch (error) {
      rethrowUnlessUnavailable(error);
      observer.miss(name, 'unavailable', reads.length);
      for (const read of reads) read.missed = 'unavailable';
      await within(work, () => this.databaseFallback.read(reads));
      return;
    }
    const misses = new Map<MissReason, number>();
    const now = Date.now();
    let isOneDue = false;
    const missing = reads.filter((read, i) => {
      const hit = this.tryHit(read.entry, stored[i]);
      if (typeof hit !== 'string') {
        read.loaded = hit;
        read.outcome = 'hit';
        hit.uses += 1;
        if (hit.refreshAt <= now && hit.uses >= MIN_USES) isOneDue = true;
        onHit?.(read.entry.keys.key);
        return false;
      }
      read.missed = hit;
      read.generation = stored[i]?.generation;
      read.everything = stored[i]?.everything ?? '';
      misses.set(hit, (misses.get(hit) ?? 0) + 1);
      return true;
    });
    for (const [reason, count] of misses) observer.miss(name, reason, count);
    if (missing.length < reads.length) {
      observer.hit(name, reads.length - missing.length);
      this.policy.hit(reads.length - missing.length);
    }
    work?.span?.foundHits(reads.length - missing.length);
    if (isOneDue) this.refreshSoon(reads);
    if (missing.length > 0) await within(work, () => this.missingReads?.complete(missing, claims));
  }

  /** Has the values loaded again that were found often and are near their end. */
  private refreshSoon(reads: readonly PendingRead<Id, Value>[]): void {
    for (const { entry, loaded } of reads)
      if (loaded && loaded.uses >= MIN_USES) this.offerRefresh(entry, loaded);
  }

  private offerRefresh(entry: Entry<Id>, life: ValueLife): boolean {
    return this.policy.refreshes && this.refreshAhead?.offer(entry, life) === true;
  }

  /** Reads the stored values, and claims those that this process has never looked up if none of them is stored. */
  private async look(store: CacheStore, reads: readonly PendingRead<Id, Value>[]): Promise<ReadOrClaimed> {
    const keys = reads.map(({ entry }) => entry.keys);
    const areNew = reads.every(({ entry }) => !entry.wasRead);
    for (const { entry } of reads) entry.wasRead = true;
    if (areNew && !reads.some(({ passes }) => passes))
      return await store.readOrClaim(keys, freshGeneration());
    return { stored: await store.read(keys), claims: undefined };
  }

  /** Returns the stored value if it may be used; otherwise the reason of the miss. */
  private tryHit(entry: Entry<Id>, stored: Stored | undefined): LoadedValue<Value> | MissReason {
    if (!stored?.raw) return 'absent';
    this.entries.noteBytes(entry.keys, stored.raw.length);
    const parsed = this.parsed.parse(entry.keys.key, stored);
    if (!parsed) return 'outdated';
    return this.parts.freshness.accepts(entry.tags, parsed.snapshot) ? parsed : 'distrusted';
  }

  /**
   * Loads missing values from the database: under the claimed generation, or without one if Redis is not used. They
   * are returned once everything that they show is invalidated, see {@link Helping}.
   */
  private async load(
    missing: readonly Pick<PendingRead<Id, Value>, 'entry' | 'generation'>[],
  ): Promise<LoadedValue<Value>[]> {
    const { helping, observer } = this.parts;
    observer.loaded(this.resource.name, missing.length);
    const ids = missing.map(({ entry }) => entry.id);
    const work = currentWork();
    const startedAt = performance.now();
    const loaded = await this.resource.load(ids, helping.since);
    this.policy.loaded(ids.length, performance.now() - startedAt);
    const moments = loaded.map(({ snapshot }) => snapshot);
    const helped = within(work, () => helping.admit(moments));
    if (helped) await helped;
    return missing.map(({ entry, generation }, i) => {
      const { value, snapshot: moment, version = 0 } = loaded[i] ?? NOT_LOADED;
      const { snapshot } = parseMoment(moment);
      return { value, snapshot, version, generation, ...this.lifeOf(entry, value), uses: 0 };
    });
  }

  /** The life of a value that is loaded now. */
  private lifeOf(entry: Entry<Id>, value: Value | null): ValueLife {
    const expiresAt = Date.now() + this.ttlOf(entry, value);
    return { expiresAt, refreshAt: value === null ? Infinity : this.refreshAtOf(expiresAt) };
  }

  private refreshAtOf(expiresAt: number): number {
    return this.refreshAhead?.refreshAtOf(expiresAt) ?? Infinity;
  }

  /**
   * The TTL of a value (ms). The key decides the jitter, so that the age of a stored value follows from the end of its
   * life.
   */
  private ttlOf({ keys }: Entry<Id>, value: Value | null): number {
    const { ttlSeconds } = this.resource;
    const seconds = value === null ? Math.min(ttlSeconds, NEGATIVE_TTL_SECONDS) : ttlSeconds;
    return Math.ceil(seconds * 1_000 * (1 - TTL_JITTER * jitterOf(keys.key)));
  }
}
