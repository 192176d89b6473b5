import type { Logger } from '../core/logger.js';

import { CacheUnavailableError, rethrowUnlessUnavailable } from '../core/errors.js';
import type { KeyOf, KeySpace } from '../core/keys.js';
import type { RedisCircuitBreaker } from '../redis/redis-circuit-breaker.js';
import type { CacheStore, KeyIndex, Removal } from '../redis/cache-store.js';
import type { Resource } from '../core/resource.js';
import { parseTag, type Tag } from '../core/tags.js';

/** The most tags kept for the end of an outage; beyond that the invalidation log alone covers this process's writes. */
const MAX_PENDING_TAGS = 10_000;
/** The same in characters. */
const MAX_PENDING_CHARACTERS = 1_000_000;
/** How long after a failure what is pending is tried again, where the circuit did not open (ms). */
const FLUSH_PAUSE_MS = 1_000;

/** What has to be removed from Redis when a tag of one family is invalidated. */
interface FamilyKeys {
  readonly generation: KeyOf<{ id: string }>;
  readonly values: ((id: string) => string)[];
  indexes: { readonly key: KeyOf<{ id: string }>; readonly maxEntries: number }[];
}

/**
 * The writer's half of the generation check: takes the generations and the values of tags out of Redis.
 *
 * Its cost depends on the number of tags alone: it never searches the keyspace.
 */
export class Invalidator {
  private readonly families = new Map<string, FamilyKeys>();
  private readonly pending = new Set<Tag>();
  private pendingCharacters = 0;
  private nextFlushAt = 0;

  constructor(
    private readonly parts: {
      readonly store: CacheStore | undefined;
      readonly circuitBreaker: Pick<RedisCircuitBreaker, 'available' | 'beforeRecovery'> | undefined;
      readonly keys: KeySpace;
      readonly log: Logger;
    },
  ) {
    parts.circuitBreaker?.beforeRecovery(async () => await this.flushPending());
  }

  /** Makes a resource's keys known, so that its tags can be invalidated. */
  register<Id>(
    resource: Pick<Resource<Id, unknown>, 'tags' | 'maxKeys'>,
    valueKeyOf: (id: Id) => string,
  ): void {
    const { keys } = this.parts;
    for (const { entity, facet } of resource.tags) {
      const name = familyName(entity, facet);
      const family: FamilyKeys = this.families.get(name) ?? {
        generation: keys.generation(entity, facet),
        values: [],
        indexes: [],
      };
      const { maxKeys } = resource;
      if (maxKeys !== undefined) family.indexes = [{ key: keys.index(entity), maxEntries: maxKeys }];
      // What is not in an index is named by its entity's id.
      else family.values.push(valueKeyOf as (id: string) => string);
      this.families.set(name, family);
    }
  }

  /**
   * Invalidates tags; call it after the transaction has committed and before its outcome is told to anyone. One round
   * trip. It never fails: what Redis could not be told now is told it when it is back, and until then, and for other
   * processes, the invalidation log keeps outdated values from being used.
   */
  async invalidate(tags: readonly Tag[]): Promise<void> {
    const { store } = this.parts;
    if (store) await this.orKeepPending(tags, store.remove(this.removalsOf(tags), 'invalidate'));
  }

  /** Awaits an invalidation of tags that is under way; if Redis cannot be told now, it is told later. Never fails. */
  async orKeepPending(tags: readonly Tag[], invalidation: Promise<void>): Promise<void> {
    try {
      await invalidation;
      this.flushPendingInBackground();
    } catch (error) {
      rethrowUnlessUnavailable(error);
      if (!(await this.tryAgain(tags))) this.keepPending(tags);
    }
  }

  /**
   * Redis may have come back in between, or have refused just the way in which it was told. What is pending from before is
   * not sent again with it: a Redis that goes on refusing would get all of it with every write.
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

  /** For what was left pending just when the circuit closed, or without the circuit's having opened. */
  private flushPendingInBackground(): void {
    if (this.pending.size === 0 || this.parts.circuitBreaker?.available !== true) return;
    const now = performance.now();
    if (now < this.nextFlushAt) return;
    this.nextFlushAt = now + FLUSH_PAUSE_MS;
    this.flushPending().catch((error: unknown) => {
      if (error instanceof CacheUnavailableError) return;
      this.parts.log.error({ err: error }, 'Could not flush the pending invalidations');
    });
  }

  /** What invalidating a tag removes: its generation, the values of its entity, and the indexes of the others. */
  targetsOf(tag: Tag): { readonly values: readonly string[]; readonly indexes: readonly KeyIndex[] } {
    const parsed = parseTag(tag);
    const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
    if (!parsed || !family) return { values: [], indexes: [] };
    return {
      values: family.values.map((value) => value(parsed.id)),
      indexes: family.indexes.map(({ key, maxEntries }) => ({ key: key({ id: parsed.id }), maxEntries })),
    };
  }

  /** Repeats the invalidation of tags, for the sweep. @throws CacheUnavailableError */
  async repeat(tags: readonly Tag[]): Promise<void> {
    await this.parts.store?.remove(this.removalsOf(tags), 'sweep');
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

  /** A tag that is written again while it is being flushed is pending again. */
  private async flushPending(): Promise<void> {
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

  /** What invalidating tags removes, by entity. */
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
