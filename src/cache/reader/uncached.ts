import { parseMoment } from '../core/moment.js';
import type { CachedResource, Resource } from '../core/resource.js';
import type { Helping } from '../invalidation/helping.js';

/**
 * Binds a description to the database alone: every read is a load. Values are returned once everything that they show
 * is invalidated, as those of the cache are.
 */
export function uncached<Id, Value>(
  { name, load }: Resource<Id, Value>,
  helping: Pick<Helping, 'since' | 'admit'>,
): CachedResource<Id, Value> {
  return {
    name,
    async readMany(ids, dependencies) {
      const loaded = await load(ids, helping.since);
      await helping.admit(loaded.map(({ snapshot }) => snapshot));
      return loaded.map(({ value, snapshot: moment }) => {
        const { snapshot } = parseMoment(moment);
        dependencies?.add({ tags: [], generationKeys: [], generation: undefined, snapshot, expiresAt: 0 });
        return value;
      });
    },
    replace: () => Promise.reject(new Error(`${name} is not cached here`)),
  };
}
