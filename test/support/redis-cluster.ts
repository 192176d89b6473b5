import { Cluster, Redis } from 'ioredis';

import type { RedisTarget } from '../../src/cache/redis-client.js';
import {
  CLUSTER_NODE_SETTINGS,
  formRedisCluster,
  type SlotRange,
} from '../../src/dev/services/redis-cluster.js';
import { eventually } from './eventually.js';
import { createRedis, type RedisService } from './services.js';
import { TcpProxy } from './tcp-proxy.js';

export interface ClusterNode {
  readonly redis: RedisService;
  /** What clients of the cluster talk to instead of the node. */
  readonly proxy: TcpProxy;
  /** Past the proxy. */
  readonly admin: Redis;
  readonly id: string;
  /** What it was given at the start; a replica has none. */
  readonly slots: SlotRange;
}

export interface RedisClusterService {
  readonly target: RedisTarget;
  readonly nodes: readonly ClusterNode[];
  /** A client of the test's own. */
  readonly admin: Cluster;
  nodeOf(key: string): Promise<ClusterNode>;
  stop(): Promise<void>;
}

/**
 * A Redis Cluster of masters, and perhaps of replicas, which are shared out among them. Each node tells clients the address of a proxy before it, so that a test can break
 * what is between the cache and one node.
 */
export async function createRedisCluster(masters = 3, replicas = 0): Promise<RedisClusterService> {
  const started = await Promise.all(
    Array.from({ length: masters + replicas }, async () => {
      const redis = await createRedis({ settings: CLUSTER_NODE_SETTINGS });
      const proxy = await TcpProxy.before(redis.url);
      const admin = new Redis(redis.url, { disconnectTimeout: 50 });
      admin.on('error', () => undefined);
      await admin.config('SET', 'cluster-announce-port', String(proxy.port));
      return { redis, proxy, admin, id: await admin.cluster('MYID') };
    }),
  );
  const ranges = await formRedisCluster(started, masters);
  const nodes = started.map((node, i): ClusterNode => ({ ...node, slots: ranges[i] ?? [-1, -1] }));
  const [first] = nodes as [ClusterNode, ...ClusterNode[]];
  for (const [i, { admin }] of nodes.slice(masters).entries()) {
    const { id } = nodes[i % masters] as ClusterNode;
    await eventually(async () => String(await admin.cluster('NODES')).includes(id));
    await admin.call('CLUSTER', 'REPLICATE', id);
    await eventually(async () => (await admin.info('replication')).includes('master_link_status:up'), 30_000);
  }
  const addresses = nodes.map(({ proxy }) => `127.0.0.1:${proxy.port}`);
  const admin = new Cluster(
    nodes.map(({ proxy }) => ({ host: '127.0.0.1', port: proxy.port })),
    { slotsRefreshInterval: 0 },
  );
  return {
    target: { kind: 'cluster', nodes: addresses },
    nodes,
    admin,
    async nodeOf(key) {
      const slot = await first.admin.cluster('KEYSLOT', key);
      const node = nodes.find(({ slots: [from, to] }) => from <= slot && slot <= to);
      if (!node) throw new Error(`No node has slot ${slot}`);
      return node;
    },
    async stop() {
      admin.disconnect();
      for (const node of nodes) {
        node.admin.disconnect();
        node.proxy.close();
      }
      await Promise.all(nodes.map(async ({ redis }) => await redis.stop()));
    },
  };
}
