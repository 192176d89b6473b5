import 'reflect-metadata';

import type { CachedResource, Resource } from '../../src/cache/core/resource.js';
import { serveWith } from './our-server.js';
import { Tally } from './report.js';

/**
 * The minimum of our server without its response cache: a cache that costs nothing, because it is a map in the process that is
 * neither invalidated nor shared. The rest is HTTP, GraphQL and the resolvers, which every other cache needs as well.
 */
const tally = new Tally();

function cachedInMemory<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> {
  const values = new Map<string, Value | null>();
  const nameOf = (id: Id): string => (typeof id === 'string' ? id : JSON.stringify(id));
  return {
    name: resource.name,
    async readMany(ids) {
      const missing = ids.filter((id) => !values.has(nameOf(id)));
      if (missing.length > 0) {
        const loaded = await resource.load(missing, '');
        // Values as every cache returns them: parsed from JSON.
        missing.forEach((id, i) => values.set(nameOf(id), asStored(loaded[i]?.value ?? null)));
      }
      return ids.map((id) => values.get(nameOf(id)) ?? null);
    },
    replace: async () => {},
  };
}

function asStored<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value)) as Value;
}

const url = await serveWith({ resource: cachedInMemory, invalidate: async () => {} }, tally);
tally.announce(url);
