import 'reflect-metadata';

import type { CachedResource, Resource } from '../../src/cache/core/resource.js';
import { serveWith } from './our-server.js';
import { Tally } from './report.js';

/** E: our server without any cache: the loaders read the repositories. */
const tally = new Tally();
function uncached<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> {
  return {
    name: resource.name,
    readMany: async (ids) => (await resource.load(ids, '')).map(({ value }) => value),
    replace: async () => {},
  };
}

const url = await serveWith({ resource: uncached, invalidate: async () => {} }, tally);
tally.announce(url);
