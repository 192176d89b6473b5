import { mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Redis } from 'ioredis';
import getPort from 'get-port';

import { OwnedProcess } from '../../src/dev/services/owned-process.js';
import { findRedis } from '../../src/dev/services/redis-program.js';
import { eventually } from '../support/eventually.js';
import { createRedis, type RedisService } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import type { RedisSide } from './redis-side.js';

const MASTER = 'flovo';
/** Sentinel considers a master down after this much silence. */
const DOWN_AFTER_MS = 500;

/** A Redis with a replica, and a Sentinel that promotes the replica when the master is gone. */
export class SentinelHost implements RedisSide {
  readonly settings = {};
  private readonly redises: RedisService[];
  private link: TcpProxy | undefined;

  private constructor(
    private readonly sentinel: OwnedProcess,
    private readonly port: number,
    private master: RedisService,
  ) {
    this.redises = [master];
  }

  static async start(): Promise<SentinelHost> {
    const master = await createRedis({ settings: ['--repl-diskless-sync-delay', '0'] });
    const { FLOVO_TEST_FOLDER: testFolder = '' } = process.env;
    const folder = await mkdtemp(`${testFolder}-sentinel-`);
    const port = await getPort();
    const file = path.join(folder, 'sentinel.conf');
    const settings = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      `sentinel monitor ${MASTER} 127.0.0.1 ${master.port} 1`,
      `sentinel down-after-milliseconds ${MASTER} ${DOWN_AFTER_MS}`,
      // Also the time after which a replica is told to follow its master directly and not through our proxy.
      `sentinel failover-timeout ${MASTER} 120000`,
    ];
    await writeFile(file, `${settings.join('\n')}\n`);
    const { command, env } = await findRedis(folder, () => {});
    const sentinel = await OwnedProcess.spawn(
      { command, args: [file, '--sentinel'], env: { PATH: process.env.PATH ?? '', LC_ALL: 'C', ...env } },
      path.join(folder, 'sentinel.log'),
    );
    const host = new SentinelHost(sentinel, port, master);
    await eventually(async () => (await host.addressOfMaster()) === master.port);
    return host;
  }

  get url(): string {
    return `redis+sentinel://127.0.0.1:${this.port}/${MASTER}`;
  }

  /** Adds a replica that follows the master through a proxy, and waits until it has everything. */
  async addReplica(): Promise<void> {
    this.link = await TcpProxy.before(this.master.url);
    const settings = ['--replicaof', '127.0.0.1', String(this.link.port), '--repl-diskless-sync-delay', '0'];
    const replica = await createRedis({ settings });
    this.redises.push(replica);
    await eventually(async () => (await infoOf(replica, 'replication')).includes('master_link_status:up'));
    await eventually(async () =>
      (await this.sentinelSays('REPLICAS', MASTER)).includes(String(replica.port)),
    );
  }

  /** Stops replication: later writes to the master do not reach the replica. */
  holdReplication(): void {
    this.link?.stall();
  }

  /** Kills or freezes the master, and waits until the Sentinel has promoted the replica. */
  async failOver(how: 'kill' | 'freeze'): Promise<{ thaw: () => void }> {
    const old = this.master;
    this.link?.close();
    if (how === 'kill') await old.kill();
    else old.freeze();
    const port = await eventually(async () => {
      const address = await this.addressOfMaster();
      return address !== old.port && address;
    }, 30_000);
    this.master = this.redises.find((redis) => redis.port === port) ?? old;
    await eventually(async () => (await infoOf(this.master, 'replication')).includes('role:master'));
    return { thaw: () => old.thaw() };
  }

  async stop(): Promise<void> {
    await this.sentinel.end(['SIGKILL']);
    this.link?.close();
    await Promise.all(this.redises.map(async (redis) => await redis.stop()));
  }

  private async addressOfMaster(): Promise<number> {
    const [, port] = JSON.parse(await this.sentinelSays('GET-MASTER-ADDR-BY-NAME', MASTER)) as string[];
    return Number(port);
  }

  private async sentinelSays(...words: string[]): Promise<string> {
    return await ask(`redis://127.0.0.1:${this.port}`, async (redis) =>
      JSON.stringify(await redis.call('SENTINEL', ...words)),
    );
  }
}

const infoOf = async (redis: RedisService, section: string): Promise<string> =>
  await ask(redis.url, async (client) => await client.info(section));

async function ask<T>(url: string, question: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
  // The command rejects as well, so the event needs no handler.
  redis.on('error', () => undefined);
  try {
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}
