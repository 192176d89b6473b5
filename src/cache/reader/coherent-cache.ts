import type { CachedResource, Resource } from '../core/resource.js';
import { ResourceReader, type CacheParts } from './resource-reader.js';
import { digestOfShape } from '../core/shape.js';
import { ValueKeys } from './value-keys.js';

/**
 * A cache-aside reader that never returns a value older than the last write answered before the read began.
 *
 * A value in Redis carries the generations of its tags, read before the database was. It is a hit only if they are
 * still current, and if the invalidation log has no write that the value's snapshot has not seen. Concurrent misses
 * share one load if they saw the same generations. If Redis fails, reads go to PostgreSQL. `docs/coherence.md` shows
 * why this holds.
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
      policy: reader.policy,
      readMany: async (ids, dependencies) => await reader.readMany(ids, dependencies),
      lastSeen: (id) => reader.lastSeen(id),
      refresh: async (ids) => await reader.refresh(ids),
      warm: async (ids) => await reader.warm(ids),
      takeReads: (each) => reader.takeReads(each),
      replace: async (id, newer, others) => await reader.replace(id, newer, others),
    };
  }

  /** The keys of a resource's values, which its reader and the invalidator share. */
  valueKeysOf<Id, Value>(resource: Resource<Id, Value>): ValueKeys<Id> {
    return new ValueKeys(this.parts.keys.valueKeyOf(resource), digestOfShape(resource.shape));
  }
}
