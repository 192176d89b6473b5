import { createRedisCluster, type RedisClusterService } from '../support/redis-cluster.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { RedisSide } from './redis-side.js';

/** A Redis Cluster of three masters, each behind a proxy that all servers share. */
export class ClusterHost implements RedisSide {
  /** Its nodes are named by a setting of their own. */
  readonly url = undefined;
  readonly settings: Readonly<Record<string, string>>;

  private constructor(private readonly cluster: RedisClusterService) {
    const addresses = this.nodes.map(({ port }) => `127.0.0.1:${port}`);
    this.settings = { REDIS_CLUSTER_NODES: addresses.join(',') };
  }

  static async start(): Promise<ClusterHost> {
    return new ClusterHost(await createRedisCluster());
  }

  get nodes(): readonly TcpProxy[] {
    return this.cluster.nodes.map(({ proxy }) => proxy);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
  }
}
