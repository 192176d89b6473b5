import { Redis, type Cluster } from 'ioredis';

import type { RedisTarget } from '../../src/cache/redis/redis-client.js';
import { createRedisCluster, TEST_CONNECTION, type ClusterNode } from './redis-cluster.js';
import { createRedis } from './services.js';
import { TcpProxy } from './tcp-proxy.js';

/** One server of a Redis, behind its proxy. */
export type TopologyNode = Pick<ClusterNode, 'redis' | 'proxy' | 'admin' | 'restart'>;

/** A Redis, standalone or cluster, on which the same test cases run. */
export interface Topology {
  readonly target: RedisTarget;
  /** Settings of a server process for this Redis. */
  readonly settings: Readonly<Record<string, string>>;
  readonly nodes: readonly TopologyNode[];
  /** The proxies between the caches and Redis, one for each node. */
  readonly proxies: readonly TcpProxy[];
  readonly admin: Redis | Cluster;
  /** An id as a key contains it. */
  idInKey(id: string): string;
  keys(): Promise<string[]>;
  flush(): Promise<void>;
  stop(): Promise<void>;
}

export type TopologyKind = 'standalone' | 'cluster';

/** @param flags of a standalone server */
export const startTopology = async (kind: TopologyKind, flags: readonly string[] = []): Promise<Topology> =>
  await (kind === 'standalone' ? standalone(flags) : cluster());

export async function standalone(flags: readonly string[] = []): Promise<Topology> {
  let redis = await createRedis({ settings: flags });
  const proxy = await TcpProxy.before(redis.url);
  const admin = new Redis(redis.url, { connectionName: TEST_CONNECTION });
  admin.on('error', () => undefined);
  const node: TopologyNode = {
    get redis() {
      return redis;
    },
    proxy,
    admin,
    async restart() {
      redis = await createRedis({ port: redis.port, settings: flags });
    },
  };
  return {
    target: { kind: 'standalone', url: proxy.url },
    settings: { REDIS_URL: proxy.url },
    nodes: [node],
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
  admin.on('error', () => undefined);
  return {
    target,
    settings: { REDIS_CLUSTER_NODES: target.kind === 'cluster' ? target.nodes.join(',') : '' },
    nodes,
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
