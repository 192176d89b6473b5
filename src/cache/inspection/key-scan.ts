import { Cluster } from 'ioredis';

import type { RedisClient } from '../redis/redis-client.js';

/** How many keys Redis looks at in one step, between which it serves others. */
const KEYS_A_STEP = 500;

/**
 * The keys that begin with a prefix, in pieces, each of one step of Redis. Keys that are there all the time come at
 * least once. For tools of operators only: it looks at every key of Redis.
 */
export async function* scanKeys(client: RedisClient, prefix: string): AsyncGenerator<string[]> {
  const nodes = client instanceof Cluster ? client.nodes('master') : [client];
  for (const node of nodes) {
    for await (const keys of node.scanStream({ match: `${prefix}*`, count: KEYS_A_STEP }))
      yield keys as string[];
  }
}

/** The number of all keys in Redis, of whatever prefix. */
export async function countKeys(client: RedisClient): Promise<number> {
  const nodes = client instanceof Cluster ? client.nodes('master') : [client];
  const counts = await Promise.all(nodes.map(async (node) => await node.dbsize()));
  return counts.reduce((sum, count) => sum + count, 0);
}
