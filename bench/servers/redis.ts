import { Redis } from 'ioredis';

const MAX_RECONNECT_PAUSE_MS = 500;

const reconnectPause = (attempt: number): number =>
  Math.min(25 * 2 ** Math.min(attempt, 5), MAX_RECONNECT_PAUSE_MS);

/**
 * The time limit of a command in ms: given in the runs with a failing Redis, so that no opponent hangs there; absent
 * in the others, so that none pays for its timers.
 */
export function commandTimeoutMs(): number | undefined {
  const given = process.env.BENCH_REDIS_COMMAND_TIMEOUT_MS;
  return given === undefined ? undefined : Number(given);
}

/** The client of an opponent, with the settings of ours (src/cache/redis-client.ts). */
export function connectOpponentRedis(url: string): Redis {
  const timeout = commandTimeoutMs();
  const client = new Redis(url, {
    enableOfflineQueue: false,
    enableAutoPipelining: true,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: 1_000,
    keepAlive: 5_000,
    noDelay: true,
    retryStrategy: reconnectPause,
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
    ...(timeout === undefined ? {} : { commandTimeout: timeout }),
  });
  // A lost connection rejects the pending commands, so the event needs no handler.
  client.on('error', () => {});
  return client;
}

/** Waits for the first connection. */
export async function connected(client: Redis): Promise<void> {
  if (client.status === 'ready') return;
  await new Promise<void>((resolve) => client.once('ready', resolve));
}
