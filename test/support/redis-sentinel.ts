import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Redis } from 'ioredis';
import getPort from 'get-port';

import { findRedis } from '../../src/dev/services/redis-program.js';
import { eventually } from './eventually.js';
import { createRedis, type RedisService } from './services.js';

export interface SentinelService {
  /** As in `REDIS_URL`. */
  readonly url: string;
  readonly master: RedisService;
  readonly replica: RedisService;
  /** The port of the current master, according to Sentinel. */
  masterPort(): Promise<number>;
  stop(): Promise<void>;
}

/** A master, its replica, and a Sentinel that makes the replica the master soon after the master has died. */
export async function createSentinel(
  options: {
    /** More lines of the Sentinel's configuration, and the password that they require. */
    readonly settings?: readonly string[];
    readonly password?: string;
    /** Flags of a master without a replica, and the port that the Sentinel monitors. */
    readonly redisSettings?: readonly string[];
    readonly masterPort?: number;
  } = {},
): Promise<SentinelService> {
  const { settings = [], password, redisSettings, masterPort: announced } = options;
  const master = await createRedis(redisSettings && { settings: redisSettings });
  const replica = await createRedis({
    settings: redisSettings ? [] : ['--replicaof', '127.0.0.1', String(master.port)],
  });
  const dataDir = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-redis-`);
  const port = await getPort();
  const file = path.join(dataDir, 'sentinel.conf');
  await writeFile(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${dataDir}`,
      `logfile ${path.join(dataDir, 'sentinel.log')}`,
      `sentinel monitor mymaster 127.0.0.1 ${announced ?? master.port} 1`,
      'sentinel down-after-milliseconds mymaster 500',
      'sentinel failover-timeout mymaster 2000',
      ...settings,
    ].join('\n'),
  );
  const { command, env } = await findRedis(dataDir, () => {});
  const server = spawn(command, [file, '--sentinel'], {
    env: { PATH: process.env.PATH, ...env },
    stdio: 'ignore',
  });
  const exited = once(server, 'exit');
  const admin = new Redis({
    host: '127.0.0.1',
    port,
    enableReadyCheck: false,
    disconnectTimeout: 50,
    ...(password === undefined ? {} : { password }),
  });
  admin.on('error', () => undefined);
  const masterPort = async () => {
    const address = (await admin.call('SENTINEL', 'get-master-addr-by-name', 'mymaster')) as [string, string];
    return Number(address[1]);
  };
  // Sentinel learns of the replica from the master, some time after its start.
  await eventually(async () => {
    if (redisSettings) return (await masterPort()) === announced;
    const replicas = (await admin.call('SENTINEL', 'replicas', 'mymaster')) as string[][];
    return replicas.some(
      (fields) => fields.includes('ok') && !fields.some((field) => field.includes('s_down')),
    );
  });
  return {
    url: `redis+sentinel://127.0.0.1:${port}/mymaster`,
    master,
    replica,
    masterPort,
    async stop() {
      admin.disconnect();
      server.kill('SIGKILL');
      await exited;
      await Promise.all([master.stop(), replica.stop()]);
    },
  };
}
