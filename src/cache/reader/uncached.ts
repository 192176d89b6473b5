import { parseMoment } from '../core/moment.js';
import { entityIdOf, type CachedResource, type UncachedResource } from '../core/resource.js';
import { traced } from '../core/work.js';
import type { Helping } from '../invalidation/helping.js';

const NOT_CACHED = {
  key: '',
  generationKeys: [],
  generation: undefined,
  expiresAt: 0,
  refreshAt: Infinity,
  usage: undefined,
} as const;
const UNCACHED_READ = {
  key: '',
  outcome: 'loaded',
  missed: 'uncached',
  tags: [],
  ageMs: 0,
  ttlMs: 0,
  ms: 0,
} as const;

/**
 * Binds a description to the database alone: every read is a load. Values are returned once everything that they show
 * is invalidated, as those of the cache are.
 */
export function uncached<Id, Value>(
  resource: UncachedResource<Id, Value>,
  helping: Pick<Helping, 'since' | 'admit'>,
): CachedResource<Id, Value> {
  const { name, load } = resource;
  const entityId = entityIdOf(resource);
  return {
    name,
    async readMany(ids, dependencies) {
      const part = { kind: 'read', resource: name, keys: ids.length } as const;
      const loaded = await traced(part, () => load(ids, helping.since));
      await helping.admit(loaded.map(({ snapshot }) => snapshot));
      return loaded.map(({ value, snapshot: moment }, i) => {
        const id = ids[i] as Id;
        const tags = resource.tags.map((tag) => tag.of(entityId(id)));
        const { snapshot } = parseMoment(moment);
        dependencies?.add({ ...NOT_CACHED, resource: name, tags, snapshot });
        dependencies?.onRead?.(id, { ...UNCACHED_READ, resource: name });
        return value;
      });
    },
    replace: () => Promise.reject(new Error(`${name} is not cached here`)),
  };
}
