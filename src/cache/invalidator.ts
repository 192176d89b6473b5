import type { Logger } from 'pino';

import { CacheUnavailableError } from './errors.js';
import type { KeyOf, KeySpace } from './keys.js';
import type { RedisGateway } from './redis-gateway.js';
import type { CacheStore, Removal } from './redis-store.js';
import type { Resource } from './resource.js';
import { parseTag, type Tag } from './tags.js';

/** The most tags kept for the end of an outage; beyond that the invalidation log alone covers this process's writes. */
const MOST_OWED_TAGS = 10_000;

/** What has to be removed from Redis when a tag of one family is invalidated. */
interface FamilyKeys {
  readonly generation: KeyOf<{ id: string }>;
  readonly values: ((id: string) => string)[];
  indexes: KeyOf<{ id: string }>[];
}

/**
 * Layer 1 of the protocol, the writer's half: takes the generations and the values of tags out of Redis.
 *
 * Its cost depends on the number of tags alone: it never searches the keyspace.
 */
export class Invalidator {
  private readonly families = new Map<string, FamilyKeys>();
  private readonly owed = new Set<Tag>();

  constructor(
    private readonly parts: {
      readonly store: CacheStore | undefined;
      readonly gateway: Pick<RedisGateway, 'available' | 'beforeRecovery'> | undefined;
      readonly keys: KeySpace;
      readonly log: Logger;
    },
  ) {
    parts.gateway?.beforeRecovery(async () => await this.payOwed());
  }

  /** Makes a resource's keys known, so that its tags can be invalidated. */
  register<Id>(resource: Pick<Resource<Id, unknown>, 'key' | 'dependsOn' | 'indexed'>): void {
    const { keys } = this.parts;
    for (const { entity, facet } of resource.dependsOn) {
      const name = familyName(entity, facet);
      const family: FamilyKeys = this.families.get(name) ?? {
        generation: keys.generation(entity, facet),
        values: [],
        indexes: [],
      };
      if (resource.indexed === true) family.indexes = [keys.index(entity)];
      // What is not indexed is named by its entity's id.
      else family.values.push(resource.key(keys) as (id: string) => string);
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
    if (store) await this.orOwe(tags, store.remove(this.removalsOf(tags), 'invalidate'));
  }

  /** Awaits an invalidation of tags that is under way; if Redis cannot be told now, it is told later. Never fails. */
  async orOwe(tags: readonly Tag[], invalidation: Promise<void>): Promise<void> {
    const { gateway } = this.parts;
    try {
      await invalidation;
    } catch (error) {
      rethrowUnlessUnavailable(error);
      this.owe(tags);
      // Redis may have come back in between, or have refused just this; if it refuses again, the log has to do.
      if (gateway?.available === true) await this.payOwed().catch(rethrowUnlessUnavailable);
    }
  }

  /** What invalidating a tag removes: its generation, the values of its entity, and the indexes of the others. */
  targetsOf(tag: Tag): { readonly values: readonly string[]; readonly indexes: readonly string[] } {
    const parsed = parseTag(tag);
    const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
    if (!parsed || !family) return { values: [], indexes: [] };
    return {
      values: family.values.map((value) => value(parsed.id)),
      indexes: family.indexes.map((index) => index({ id: parsed.id })),
    };
  }

  /** Repeats the invalidation of tags, for the sweep. @throws CacheUnavailableError */
  async repeat(tags: readonly Tag[]): Promise<void> {
    await this.parts.store?.remove(this.removalsOf(tags), 'sweep');
  }

  private owe(tags: readonly Tag[]): void {
    for (const tag of tags) if (this.owed.size < MOST_OWED_TAGS) this.owed.add(tag);
  }

  /** A tag that is written again while it is being paid is owed again. */
  private async payOwed(): Promise<void> {
    while (this.owed.size > 0) {
      const tags = [...this.owed];
      this.owed.clear();
      try {
        await this.parts.store?.remove(this.removalsOf(tags), 'invalidate', true);
      } catch (error) {
        this.owe(tags);
        throw error;
      }
      this.parts.log.info({ tags: tags.length }, 'Invalidated what was written during the outage');
    }
  }

  private removalsOf(tags: readonly Tag[]): Removal[] {
    const removals = new Map<string, { keys: Set<string>; indexes: Set<string> }>();
    for (const tag of tags) {
      const parsed = parseTag(tag);
      const family = parsed && this.families.get(familyName(parsed.entity, parsed.facet));
      if (!parsed || !family) continue;
      const { entity, id } = parsed;
      const name = `${entity}:${id}`;
      const removal = removals.get(name) ?? { keys: new Set(), indexes: new Set() };
      removal.keys.add(family.generation({ id }));
      for (const value of family.values) removal.keys.add(value(id));
      for (const index of family.indexes) removal.indexes.add(index({ id }));
      removals.set(name, removal);
    }
    return [...removals.values()].map(({ keys, indexes }) => ({ keys: [...keys], indexes: [...indexes] }));
  }
}

const familyName = (entity: string, facet: string | undefined): string =>
  facet === undefined ? entity : `${entity}:${facet}`;

function rethrowUnlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
