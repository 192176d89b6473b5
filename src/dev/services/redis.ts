import { Redis } from 'ioredis';

import { minimalEnvironment } from './commands.js';
import { prepareFolder, startService, type EmbeddedService } from './embedded-service.js';
import { findRedis } from './redis-program.js';

/** A running Redis server. */
export interface RedisService extends EmbeddedService {
  readonly url: string;
  readonly host: '127.0.0.1';
  /** Stops the server with SIGSTOP: connections stay open, but get no replies. */
  freeze(): void;
  /** Continues a stopped server. */
  thaw(): void;
}

export interface RedisOptions {
  /** The folder for the server's files and log, created if missing. Each instance needs its own. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
  /** A free one by default. */
  readonly port?: number;
  /** More arguments of the server, such as `['--maxmemory', '64mb']`. */
  readonly settings?: readonly string[];
  /** Whether to take over a server that was left running in the folder with the same settings. */
  readonly reuse: boolean;
}

/**
 * Starts a Redis server on 127.0.0.1, or takes over the one that runs in its folder. It stores nothing on disk.
 * @throws Error if no Redis program can be found, or it cannot be started
 */
export async function startRedis(options: RedisOptions): Promise<RedisService> {
  const dataDir = await prepareFolder(options.dataDir);
  const settings = ['--appendonly', 'no', '--save', '', ...(options.settings ?? [])];
  const { command, env } = await findRedis(dataDir, options.log);
  const service = await startService({
    name: 'Redis',
    dataDir,
    settings,
    port: options.port,
    reuse: options.reuse,
    command: (port) => ({
      command,
      args: ['--bind', '127.0.0.1', '--port', String(port), '--dir', dataDir, ...settings],
      env: { ...minimalEnvironment(), ...env },
      cwd: dataDir,
    }),
    answers,
    readyMs: 60_000,
    passing:
      options.port === undefined
        ? /Address already in use|Failed listening on port|too high for cluster mode/i
        : /^$/,
    stopSignals: ['SIGTERM', 'SIGKILL'],
  });
  return {
    ...service,
    url: `redis://127.0.0.1:${service.port}`,
    host: '127.0.0.1',
    freeze: () => service.signal('SIGSTOP'),
    thaw: () => service.signal('SIGCONT'),
  };
}

/**
 * Whether this server, and not another one on the port, answers. If it demands a password, nothing more can be asked.
 */
async function answers(port: number, pid: number): Promise<boolean> {
  const client = new Redis({
    host: '127.0.0.1',
    port,
    lazyConnect: true,
    connectTimeout: 1_000,
    commandTimeout: 1_000,
    enableReadyCheck: false,
    retryStrategy: null,
  });
  client.on('error', () => undefined);
  try {
    return (await client.info('server')).includes(`process_id:${pid}\r\n`);
  } catch (error) {
    return (error as Error).message.startsWith('NOAUTH');
  } finally {
    client.disconnect();
  }
}
