import type { Redis } from 'ioredis';

import { eventually } from '../support/eventually.js';
import { createRedisCluster, type ClusterNode, type RedisClusterService } from '../support/redis-cluster.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { RedisSide } from './redis-side.js';

/** How many keys of a slot are moved at a time. */
const KEYS_A_MOVE = 20;
const MOVE_TIMEOUT_MS = 5_000;

/** A Redis Cluster of three masters and perhaps as many replicas, each behind a proxy that all servers share. */
export class ClusterHost implements RedisSide {
  /** Its nodes are named by a setting of their own. */
  readonly url = undefined;
  readonly settings: Readonly<Record<string, string>>;

  private constructor(private readonly cluster: RedisClusterService) {
    const addresses = this.nodes.map(({ port }) => `127.0.0.1:${port}`);
    this.settings = { REDIS_CLUSTER_NODES: addresses.join(',') };
  }

  static async start(replicas: 0 | 3 = 0): Promise<ClusterHost> {
    return new ClusterHost(await createRedisCluster(3, replicas));
  }

  get nodes(): readonly TcpProxy[] {
    return this.cluster.nodes.map(({ proxy }) => proxy);
  }

  /**
   * Makes a replica the master: on request, as for maintenance, or because the master stands still. Waits until it is.
   * The returned function lets the old master go on, as a replica, and waits until it is one.
   */
  async failOver(how: 'request' | 'freeze'): Promise<() => Promise<void>> {
    const masters = await this.masters();
    const victim = masters[Math.floor(Math.random() * masters.length)] as ClusterNode;
    if (how === 'freeze') victim.redis.freeze();
    else {
      const heir = await this.replicaOf(victim);
      await heir.admin.call('CLUSTER', 'FAILOVER');
    }
    await eventually(async () => (await this.masters(victim)).length === masters.length, 30_000);
    return async () => {
      victim.redis.thaw();
      await eventually(
        async () => (await victim.admin.info('replication')).includes('master_link_status:up'),
        30_000,
      );
    };
  }

  /** The slot of a key. */
  async slotOf(key: string): Promise<number> {
    return await this.admin.cluster('KEYSLOT', key);
  }

  /** Moves a slot to another master while it is used, key by key, as `redis-cli --cluster reshard` does. */
  async migrate(slot: number): Promise<void> {
    const masters = await this.masters();
    const ownership = await Promise.all(masters.map(async ({ admin }) => await owns(admin, slot)));
    const source = masters[ownership.indexOf(true)];
    const target = masters[ownership.indexOf(false)];
    if (!source || !target) throw new Error(`Nobody has slot ${slot}`);
    await target.admin.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', source.id);
    await source.admin.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', target.id);
    for (;;) {
      const keys = (await source.admin.call('CLUSTER', 'GETKEYSINSLOT', slot, KEYS_A_MOVE)) as string[];
      if (keys.length === 0) break;
      const { port } = target.redis;
      await source.admin.call(
        'MIGRATE',
        '127.0.0.1',
        port,
        '',
        0,
        MOVE_TIMEOUT_MS,
        'REPLACE',
        'KEYS',
        ...keys,
      );
    }
    for (const { admin } of [target, source]) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
    for (const { admin } of masters) await admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', target.id);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
  }

  private get admin(): Redis {
    return (this.cluster.nodes[0] as ClusterNode).admin;
  }

  private async replicaOf(master: ClusterNode): Promise<ClusterNode> {
    const lines = String(await master.admin.cluster('NODES')).split('\n');
    const line = lines.find((each) => each.includes(`slave ${master.id}`)) ?? '';
    const replica = this.cluster.nodes.find(({ id }) => line.startsWith(id));
    if (!replica) throw new Error('The master has no replica');
    return replica;
  }

  /** The nodes that are masters by their own account, and have slots. */
  private async masters(except?: ClusterNode): Promise<ClusterNode[]> {
    const nodes = this.cluster.nodes.filter((node) => node !== except);
    const roles = await Promise.all(nodes.map(async ({ admin }) => await isMaster(admin)));
    return nodes.filter((_, i) => roles[i]);
  }
}

async function isMaster(admin: Redis): Promise<boolean> {
  return (await admin.info('replication')).includes('role:master');
}

/** Whether a node is the owner of a slot by its own account. */
async function owns(admin: Redis, slot: number): Promise<boolean> {
  const id = await admin.cluster('MYID');
  const ranges = await admin.cluster('SLOTS');
  return ranges.some(([first, last, owner]) => first <= slot && slot <= last && owner?.[2] === id);
}
