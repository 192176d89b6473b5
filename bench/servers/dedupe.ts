import 'reflect-metadata';

import { createCache } from 'async-cache-dedupe';
import DataLoader from 'dataloader';

import { KeySpace } from '../../src/cache/core/keys.js';
import { entityIdOf, type CachedResource, type Resource } from '../../src/cache/core/resource.js';
import { serveWith } from './our-server.js';
import { connected, connectOpponentRedis } from './redis.js';
import { Tally } from './report.js';
import { redisUrl } from './settings.js';

/** Longer than every TTL, as its documentation asks. */
const REFERENCES_TTL_SECONDS = 600;

type Read = (request: { key: string; id: unknown }) => Promise<unknown>;

/**
 * A: our server and resolvers, with async-cache-dedupe on Redis in the place of our cache: a definition for each
 * resource with our keys, our TTLs and our tags as references, and an awaited invalidation after writes. Misses of one
 * tick share one SQL statement, as ours do.
 */
const tally = new Tally();
const redis = connectOpponentRedis(redisUrl());
await connected(redis);
const keys = new KeySpace({ prefix: '', cluster: false });
const cache = createCache({
  storage: {
    type: 'redis',
    options: { client: redis, invalidation: { referencesTTL: REFERENCES_TTL_SECONDS } },
  },
  onHit: tally.onHit,
  onMiss: tally.onMiss,
});

const tagsOf = <Id>(resource: Pick<Resource<Id, unknown>, 'tags' | 'key' | 'params'>, id: Id): string[] =>
  resource.tags.map((family) => family.of(entityIdOf(resource)(id)));

function cached<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> {
  const keyOf = keys.valueKeyOf(resource);
  const rows = new DataLoader<Id, Value | null>(
    async (ids) => (await resource.load(ids, '')).map(({ value }) => value),
    { cache: false },
  );
  const defined: Record<string, Read> = cache.define(
    resource.name,
    {
      ttl: resource.ttlSeconds,
      serialize: ({ key }: { key: string }) => key,
      references: ({ id }: { id: unknown }) => tagsOf(resource, id as Id),
    },
    async ({ id }: { key: string; id: unknown }) => await rows.load(id as Id),
  );
  const read = defined[resource.name] as Read;
  return {
    name: resource.name,
    readMany: async (ids) =>
      (await Promise.all(ids.map(async (id) => await read({ key: keyOf(id), id })))) as (Value | null)[],
    // It has no way to replace a value only by a newer one.
    replace: async (id) => await cache.invalidateAll(tagsOf(resource, id)),
  };
}

const url = await serveWith(
  { resource: cached, invalidate: async (tags) => await cache.invalidateAll([...tags]) },
  tally,
);
tally.announce(url);
