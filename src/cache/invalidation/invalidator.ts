import type { Logger } from '../core/logger.js';

import { CacheUnavailableError, rethrowUnlessUnavailable } from '../core/errors.js';
import type { KeyOf, KeySpace } from '../core/keys.js';
import type { LogEntry } from '../core/moment.js';
import type { CacheObserver, InvalidationCause } from '../core/observer.js';
import type { RedisCircuitBreaker } from '../redis/redis-circuit-breaker.js';
import type { CacheStore, KeyIndex, Removal } from '../redis/cache-store.js';
import type { Resource } from '../core/resource.js';
import { EVERYTHING, parseTag, type Tag } from '../core/tags.js';

/** The maximum number of tags that wait for the end of an outage. Only the invalidation log covers writes beyond it. */
const MAX_PENDING_TAGS = 10_000;
/** The same limit in characters. */
const MAX_PENDING_CHARACTERS = 1_000_000;
/** The maximum number of logged writes that wait for it: every process knows older ones from the log. */
const MAX_PENDING_WRITES = 1_000;
/** How long after a failure the pending tags are tried again, if the circuit did not open (ms). */
const FLUSH_PAUSE_MS = 1_000;

/** If logged writes changed more tags than this, they count as changes of everything, so that helping stays quick. */
const MAX_HELPED_TAGS = 10_000;

/** The keys to remove from Redis when a tag of one family is invalidated. */
interface FamilyKeys {
  /** The names of the resources whose values depend on the tag. */
  readonly resources: string[];
  readonly generation: KeyOf<{ id: string }>;
  readonly values: ((id: string) => string)[];
  indexes: { readonly key: KeyOf<{ id: string }>; readonly maxEntries: number }[];
}

/**
 * The writer's half of the generation check: removes the generations and the values of tags from Redis.
 *
 * Its cost depends only on the number of tags: it never searches the keyspace.
 */
export class Invalidator {
  private readonly families = new Map<string, FamilyKeys>();
  private readonly pending = new Set<Tag>();
  private pendingCharacters = 0;
  /** Logged writes that wait to be added to generations. */
  private pendingWrites: LogEntry[] = [];
  /** Their epoch. */
  private pendingEpoch = '';
  private nextFlushAt = 0;

  constructor(
    private readonly parts: {
      readonly store: CacheStore | undefined;
      readonly circuitBreaker: Pick<RedisCircuitBreaker, 'available' | 'beforeRecovery'> | undefined;
      readonly keys: KeySpace;
      readonly observer: Pick<CacheObserver, 'invalidated' | 'outdated'>;
      readonly log: Logger;
    },
  ) {
    parts.circuitBreaker?.beforeRecovery(async () => await this.flushPending());
  }

  /** Registers the keys of a resource, so that its tags can be invalidated. */
  register<Id>(
    resource: Pick<Resource<Id, unknown>, 'name' | 'tags' | 'maxKeys'>,
    valueKeyOf: (id: Id) => string,
  ): void {
    const { keys } = this.parts;
    for (const { entity, facet } of resource.tags) {
      const name = familyName(entity, facet);
      const family: FamilyKeys = this.families.get(name) ?? {
        generation: keys.generation(entity, facet),
        values: [],
        indexes: [],
        resources: [],
      };
      family.resources.push(resource.name);
      const { maxKeys } = resource;
      if (maxKeys !== undefined) family.indexes = [{ key: keys.index(entity), maxEntries: maxKeys }];
      // Without an index, the entity's id alone gives the key.
      else family.values.push(valueKeyOf as (id: string) => string);
      this.families.set(name, family);
    }
  }

  /**
   * Invalidates tags. Call it after the transaction has committed and before anyone is told of its outcome. One round
   * trip; never fails: if Redis cannot be reached, the tags stay pending until it is back. Until then, and in other
   * processes, the invalidation log keeps outdated values from being used.
   */
  async invalidate(tags: readonly Tag[]): Promise<void> {
    const { store } = this.parts;
    if (store) await this.orKeepPending(tags, store.remove(this.removalsOf(tags), 'invalidate'));
  }

  /**
   * Invalidates the tags of logged writes, without outdating values that have seen the writes. Never fails, as {@link
   * invalidate}.
   * @param cause how this process learned of the writes
   */
  async addWrites(entries: readonly LogEntry[], epoch: string, cause: 'helped' | 'log'): Promise<void> {
    if (entries.length === 0 || !this.parts.store) return;
    this.report(
      cause,
      entries.flatMap(({ tags }) => tags),
    );
    try {
      await this.tryToAddWrites(entries, epoch, false);
    } catch (error) {
      rethrowUnlessUnavailable(error);
      if (epoch !== this.pendingEpoch) this.pendingWrites = [];
      this.pendingEpoch = epoch;
      this.pendingWrites = [...this.pendingWrites, ...entries].slice(-MAX_PENDING_WRITES);
    }
  }

  /** @throws CacheUnavailableError */
  private async tryToAddWrites(
    entries: readonly LogEntry[],
    epoch: string,
    whileOpen: boolean,
  ): Promise<void> {
    const byKey = new Map<string, { readonly key: string; readonly xids: number[] }>();
    const ofEverything: number[] = [];
    for (const { xid, tags } of entries) {
      for (const tag of tags) {
        if (tag === EVERYTHING) ofEverything.push(xid);
        const key = this.generationKeyOf(tag);
        if (key === undefined) continue;
        const writes = byKey.get(key);
        if (writes) writes.xids.push(xid);
        else byKey.set(key, { key, xids: [xid] });
      }
    }
    const writes =
      byKey.size > MAX_HELPED_TAGS
        ? { epoch, ofTags: [], ofEverything: entries.map(({ xid }) => xid) }
        : { epoch, ofTags: [...byKey.values()], ofEverything };
    if (writes.ofTags.length + writes.ofEverything.length === 0) return;
    await this.parts.store?.addWrites(writes, whileOpen);
  }

  /** The key of a tag's generation; undefined for a tag of no resource. */
  generationKeyOf(tag: Tag): string | undefined {
    const parsed = parseTag(tag);
    const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
    return family?.generation({ id: parsed?.id ?? '' });
  }

  /** Awaits an invalidation that is under way; if it fails, keeps its tags pending. Never fails. */
  async orKeepPending(tags: readonly Tag[], invalidation: Promise<void>): Promise<void> {
    this.report('mutation', tags);
    try {
      await invalidation;
      this.flushPendingInBackground();
    } catch (error) {
      rethrowUnlessUnavailable(error);
      if (!(await this.tryAgain(tags))) this.keepPending(tags);
    }
  }

  /**
   * Tries once more: Redis may be back, or may have refused only the first form of the request. Tags that were
   * pending before are not sent with it: a Redis that goes on refusing would receive all of them with every write.
   */
  private async tryAgain(tags: readonly Tag[]): Promise<boolean> {
    const { circuitBreaker, store } = this.parts;
    if (circuitBreaker?.available !== true) return false;
    try {
      await store?.remove(this.removalsOf(tags), 'invalidate');
      return true;
    } catch (error) {
      rethrowUnlessUnavailable(error);
      return false;
    }
  }

  /** Flushes tags that became pending just as the circuit closed, or without the circuit opening. */
  private flushPendingInBackground(): void {
    if (!this.hasPending || this.parts.circuitBreaker?.available !== true) return;
    const now = performance.now();
    if (now < this.nextFlushAt) return;
    this.nextFlushAt = now + FLUSH_PAUSE_MS;
    this.flushPending().catch((error: unknown) => {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.error({ err: error }, 'Could not flush the pending invalidations');
    });
  }

  /**
   * The values that invalidating a tag removes, and the indexes of further values. The generation is not among them.
   */
  targetsOf(tag: Tag): { readonly values: readonly string[]; readonly indexes: readonly KeyIndex[] } {
    const parsed = parseTag(tag);
    const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
    if (!parsed || !family) return { values: [], indexes: [] };
    return {
      values: family.values.map((value) => value(parsed.id)),
      indexes: family.indexes.map(({ key, maxEntries }) => ({ key: key({ id: parsed.id }), maxEntries })),
    };
  }

  /** Whether Redis has not been told of all invalidations, because it could not be reached. */
  get hasPending(): boolean {
    return this.pending.size + this.pendingWrites.length > 0;
  }

  /** Repeats the invalidation of tags, for the sweep. @throws CacheUnavailableError */
  async repeat(tags: readonly Tag[]): Promise<void> {
    this.report('sweep', tags);
    await this.parts.store?.remove(this.removalsOf(tags), 'sweep');
  }

  private report(cause: InvalidationCause, tags: readonly Tag[]): void {
    const { observer } = this.parts;
    observer.invalidated(cause, tags.length);
    const counts = new Map<string, number>();
    for (const tag of tags)
      for (const name of this.familyOf(tag)?.resources ?? []) counts.set(name, (counts.get(name) ?? 0) + 1);
    for (const [name, count] of counts) observer.outdated(name, cause, count);
  }

  private familyOf(tag: Tag): FamilyKeys | undefined {
    const parsed = parseTag(tag);
    return parsed && this.families.get(familyName(parsed.entity, parsed.facet));
  }

  private keepPending(tags: readonly Tag[]): void {
    for (const tag of tags) {
      if (this.pending.has(tag)) continue;
      if (
        this.pending.size >= MAX_PENDING_TAGS ||
        this.pendingCharacters + tag.length > MAX_PENDING_CHARACTERS
      )
        return;
      this.pending.add(tag);
      this.pendingCharacters += tag.length;
    }
  }

  /** A tag that is written again during the flush is pending again. */
  private async flushPending(): Promise<void> {
    const [writes, epoch] = [this.pendingWrites, this.pendingEpoch];
    this.pendingWrites = [];
    try {
      await this.tryToAddWrites(writes, epoch, true);
    } catch (error) {
      if (epoch === this.pendingEpoch)
        this.pendingWrites = [...writes, ...this.pendingWrites].slice(-MAX_PENDING_WRITES);
      throw error;
    }
    while (this.pending.size > 0) {
      const tags = [...this.pending];
      this.pending.clear();
      this.pendingCharacters = 0;
      try {
        await this.parts.store?.remove(this.removalsOf(tags), 'invalidate', true);
      } catch (error) {
        this.keepPending(tags);
        throw error;
      }
      this.parts.log.info({ tags: tags.length }, 'Invalidated what was written during the outage');
    }
  }

  /** The keys that invalidating tags removes, by entity. */
  removalsOf(tags: readonly Tag[]): Removal[] {
    const removals = new Map<string, { keys: Set<string>; indexes: Map<string, number> }>();
    for (const tag of tags) {
      const parsed = parseTag(tag);
      const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
      if (!parsed || !family) continue;
      const { entity, id } = parsed;
      const name = `${entity}:${id}`;
      const removal = removals.get(name) ?? { keys: new Set(), indexes: new Map() };
      removal.keys.add(family.generation({ id }));
      for (const value of family.values) removal.keys.add(value(id));
      for (const { key, maxEntries } of family.indexes) removal.indexes.set(key({ id }), maxEntries);
      removals.set(name, removal);
    }
    return [...removals.values()].map(({ keys, indexes }) => ({
      keys: [...keys],
      indexes: [...indexes].map(([key, maxEntries]) => ({ key, maxEntries })),
    }));
  }
}

const familyName = (entity: string, facet: string | undefined): string =>
  facet === undefined ? entity : `${entity}:${facet}`;
