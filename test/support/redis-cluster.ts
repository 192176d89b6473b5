import { Cluster, Redis } from 'ioredis';

import type { RedisTarget } from '../../src/cache/redis/redis-client.js';
import { CLUSTER_NODE_SETTINGS, formRedisCluster, type SlotRange } from './form-redis-cluster.js';
import { eventually } from './eventually.js';
import { createRedis, createRedisFolder, type RedisService } from './services.js';
import { TcpProxy } from './tcp-proxy.js';

export interface ClusterNode {
  /** The current process; a restart replaces it. */
  readonly redis: RedisService;
  /** The proxy that clients of the cluster connect to. */
  readonly proxy: TcpProxy;
  /** A client that bypasses the proxy. */
  readonly admin: Redis;
  readonly id: string;
  /** The slots that it had at the start; a replica has none. */
  readonly slots: SlotRange;
  /** Restarts it after a kill: without data, but still a member of the cluster. */
  restart(): Promise<void>;
}

/** A move of a slot from one master to another, as `redis-cli --cluster reshard` makes it. */
export interface SlotMove {
  /** Moves this many of the remaining keys, or all. */
  moveKeys(most?: number): Promise<void>;
  /** Moves the remaining keys, and makes the other master the owner. */
  finish(): Promise<void>;
}

export interface RedisClusterService {
  readonly target: RedisTarget;
  readonly nodes: readonly ClusterNode[];
  /** A client of the test's own. */
  readonly admin: Cluster;
  /** The node that had the key's slot at the start. */
  nodeOf(key: string): Promise<ClusterNode>;
  moveSlotOf(key: string): Promise<SlotMove>;
  stop(): Promise<void>;
}

/** The client name of the tests' own connections. */
export const TEST_CONNECTION = 'test';

/** The number of keys that are moved at a time. */
const KEYS_A_MOVE = 20;
const MOVE_TIMEOUT_MS = 5_000;

/**
 * Starts a Redis Cluster of masters and optional replicas. Each node announces the address of a proxy, so that a test can
 * break the network between the cache and one node.
 */
export async function createRedisCluster(masters = 3, replicas = 0): Promise<RedisClusterService> {
  const started = await Promise.all(
    Array.from({ length: masters + replicas }, async () => {
      const dataDir = await createRedisFolder();
      let redis = await createRedis({ dataDir, settings: CLUSTER_NODE_SETTINGS });
      const proxy = await TcpProxy.before(redis.url);
      const admin = new Redis(redis.url, { disconnectTimeout: 50, connectionName: TEST_CONNECTION });
      admin.on('error', () => undefined);
      await admin.config('SET', 'cluster-announce-port', String(proxy.port));
      return {
        latest: () => redis,
        redis,
        proxy,
        admin,
        id: await admin.cluster('MYID'),
        async restart() {
          const settings = [...CLUSTER_NODE_SETTINGS, '--cluster-announce-port', String(proxy.port)];
          redis = await createRedis({ dataDir, port: redis.port, settings });
        },
      };
    }),
  );
  const ranges = await formRedisCluster(started, masters);
  const nodes = started.map(({ latest, proxy, admin, id, restart }, i): ClusterNode => ({
    get redis() {
      return latest();
    },
    proxy,
    admin,
    id,
    slots: ranges[i] ?? [-1, -1],
    restart,
  }));
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
    { slotsRefreshInterval: 0, redisOptions: { connectionName: TEST_CONNECTION } },
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
    async moveSlotOf(key) {
      return await beginMove(await mastersOf(nodes), await first.admin.cluster('KEYSLOT', key));
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

/** The nodes that report to be masters. */
export async function mastersOf(nodes: readonly ClusterNode[]): Promise<ClusterNode[]> {
  const roles = await Promise.all(
    nodes.map(async ({ admin }) => (await admin.info('replication')).includes('role:master')),
  );
  return nodes.filter((_, i) => roles[i]);
}

async function beginMove(masters: readonly ClusterNode[], slot: number): Promise<SlotMove> {
  const ownership = await Promise.all(masters.map(async ({ admin }) => await owns(admin, slot)));
  const source = masters[ownership.indexOf(true)];
  const target = masters[ownership.indexOf(false)];
  if (!source || !target) throw new Error(`Nobody has slot ${slot}`);
  await target.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id);
  await source.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id);
  const moveKeys = async (most = Infinity): Promise<void> => {
    for (let moved = 0; moved < most;) {
      const count = Math.min(KEYS_A_MOVE, most - moved);
      const keys = (await source.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, count)) as string[];
      if (keys.length === 0) return;
      const to = ['127.0.0.1', target.redis.port, '', 0, MOVE_TIMEOUT_MS];
      await source.admin.call('MIGRATE', ...to, 'REPLACE', 'KEYS', ...keys);
      moved += keys.length;
    }
  };
  return {
    moveKeys,
    async finish() {
      await moveKeys();
      // The target first: it must serve clients that the source redirects to it.
      const others = masters.filter((node) => node !== source && node !== target);
      for (const { admin } of [target, source, ...others])
        await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
    },
  };
}

/** Whether a node reports to own a slot. */
async function owns(admin: Redis, slot: number): Promise<boolean> {
  const id = await admin.cluster('MYID');
  const ranges = await admin.cluster('SLOTS');
  return ranges.some(([from, to, owner]) => from <= slot && slot <= to && owner?.[2] === id);
}
