import 'reflect-metadata';

import type { Redis } from 'ioredis';

import { KeySpace } from '../../src/cache/core/keys.js';
import { entityIdOf, type CachedResource, type Resource } from '../../src/cache/core/resource.js';
import { parseTag, type Tag } from '../../src/cache/core/tags.js';
import { serveWith } from './our-server.js';
import { connected, connectOpponentRedis } from './redis.js';
import { Tally } from './report.js';
import { redisUrl } from './settings.js';

/**
 * E: our server with the caching that the strategy's document describes as it stands: GET and SET with our keys and
 * TTLs, and deletion by pattern after writes. It is what our cache would cost without its guarantee.
 */
const tally = new Tally();
const redis = connectOpponentRedis(redisUrl());
await connected(redis);
const keys = new KeySpace({ prefix: '', cluster: false });

function cached<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> {
  const keyOf = keys.valueKeyOf(resource);
  const readMany = async (ids: readonly Id[]): Promise<(Value | null)[]> => {
    const stored = await redis.mget(ids.map(keyOf));
    const values = stored.map((raw) => (raw === null ? undefined : (JSON.parse(raw) as Value)));
    const missing = [...ids.keys()].filter((i) => values[i] === undefined);
    for (const value of values) {
      if (value === undefined) tally.onMiss();
      else tally.onHit();
    }
    if (missing.length === 0) return values as Value[];
    const loaded = await resource.load(
      missing.map((i) => ids[i] as Id),
      '',
    );
    missing.forEach((i, place) => {
      const value = loaded[place]?.value ?? null;
      values[i] = value as Value;
      if (value !== null) {
        redis
          .set(keyOf(ids[i] as Id), JSON.stringify(value), 'EX', resource.ttlSeconds)
          .catch(() => undefined);
      }
    });
    return values as (Value | null)[];
  };
  return {
    name: resource.name,
    readMany,
    replace: async (id) => await deletePattern(redis, `bot:${entityIdOf(resource)(id)}*`),
  };
}

async function invalidate(tags: readonly Tag[]): Promise<void> {
  const patterns = tags.flatMap((tag) => {
    const { entity, id, facet } = parseTag(tag) ?? {};
    if (facet !== undefined) return [];
    return entity === 'org' ? [`bots:org:${id}:*`, `org:${id}*`] : [`${entity}:${id}*`];
  });
  await Promise.all(patterns.map(async (pattern) => await deletePattern(redis, pattern)));
}

async function deletePattern(client: Redis, pattern: string): Promise<void> {
  let cursor = '0';
  do {
    const [next, found] = await client.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000);
    if (found.length > 0) await client.del(...found);
    cursor = next;
  } while (cursor !== '0');
}

const url = await serveWith({ resource: cached, invalidate }, tally);
tally.announce(url);
