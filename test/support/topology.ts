import { Redis, type Cluster } from 'ioredis';

import type { RedisTarget } from '../../src/cache/redis-client.js';
import { createRedisCluster } from './redis-cluster.js';
import { createRedis } from './services.js';
import { TcpProxy } from './tcp-proxy.js';

/** A Redis to run the same test cases on, whatever it is made of. */
export interface Topology {
  readonly target: RedisTarget;
  /** What stands between the caches and Redis: one proxy for each node. */
  readonly proxies: readonly TcpProxy[];
  readonly admin: Redis | Cluster;
  /** An id as it stands in a key. */
  idInKey(id: string): string;
  keys(): Promise<string[]>;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

export async function standalone(): Promise<Topology> {
  const redis = await createRedis();
  const proxy = await TcpProxy.before(redis.url);
  const admin = new Redis(redis.url);
  return {
    target: { kind: 'standalone', url: proxy.url },
    proxies: [proxy],
    admin,
    idInKey: (id) => id,
    keys: async () => await admin.keys('*'),
    flush: async () => {
      await admin.flushall();
    },
    async stop() {
      admin.disconnect();
      proxy.close();
      await redis.stop();
    },
  };
}

export async function cluster(): Promise<Topology> {
  const { target, nodes, admin, stop } = await createRedisCluster();
  return {
    target,
    proxies: nodes.map(({ proxy }) => proxy),
    admin,
    idInKey: (id) => `{${id}}`,
    keys: async () => (await Promise.all(nodes.map(async (node) => await node.admin.keys('*')))).flat(),
    flush: async () => {
      await Promise.all(nodes.map(async (node) => await node.admin.flushall()));
    },
    stop,
  };
}
