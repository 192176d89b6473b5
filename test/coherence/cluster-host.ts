import { eventually } from '../support/eventually.js';
import {
  createRedisCluster,
  mastersOf,
  type ClusterNode,
  type RedisClusterService,
  type SlotMove,
} from '../support/redis-cluster.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { RedisSide } from './redis-side.js';

/** A Redis Cluster of three masters and up to three replicas, each behind a proxy that all servers share. */
export class ClusterHost implements RedisSide {
  /** The servers find the nodes by a setting instead. */
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
   * Makes a replica the master, on request, as for maintenance, or by freezing or killing the master, and waits until it
   * is. The returned function thaws the old master, or restarts it empty, and waits until it has become a replica.
   */
  async failOver(how: 'request' | 'freeze' | 'kill'): Promise<() => Promise<void>> {
    const masters = await mastersOf(this.cluster.nodes);
    const victim = masters[Math.floor(Math.random() * masters.length)] as ClusterNode;
    if (how === 'freeze') victim.redis.freeze();
    else if (how === 'kill') await victim.redis.kill();
    else {
      const heir = await this.replicaOf(victim);
      await heir.admin.call('CLUSTER', 'FAILOVER');
    }
    const others = this.cluster.nodes.filter((node) => node !== victim);
    await eventually(async () => (await mastersOf(others)).length === masters.length, 30_000);
    return async () => {
      if (how === 'kill') await victim.restart();
      else victim.redis.thaw();
      await eventually(
        async () => (await victim.admin.info('replication')).includes('master_link_status:up'),
        30_000,
      );
    };
  }

  /** Begins to move the slot of a key to another master, while clients use it. */
  async moveSlotOf(key: string): Promise<SlotMove> {
    return await this.cluster.moveSlotOf(key);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
  }

  private async replicaOf(master: ClusterNode): Promise<ClusterNode> {
    const lines = String(await master.admin.cluster('NODES')).split('\n');
    const line = lines.find((each) => each.includes(`slave ${master.id}`)) ?? '';
    const replica = this.cluster.nodes.find(({ id }) => line.startsWith(id));
    if (!replica) throw new Error('The master has no replica');
    return replica;
  }
}
