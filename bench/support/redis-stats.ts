import type { Redis } from 'ioredis';

/** Commands of the harness itself. */
const OWN = new Set([
  'info',
  'flushdb',
  'config',
  'config|resetstat',
  'ping',
  'client',
  'hello',
  'select',
  'command',
]);

/** The counts of Redis so far. */
export interface RedisUse {
  /** Commands, those inside scripts included. */
  readonly commands: number;
  readonly cpuMicroseconds: number;
}

/** @param admin a client of the harness; its own commands are not counted */
export async function redisUse(admin: Redis): Promise<RedisUse> {
  const [commandstats, cpu] = await Promise.all([admin.info('commandstats'), admin.info('cpu')]);
  let commands = 0;
  for (const [, name, calls] of commandstats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (!OWN.has(name?.split('|')[0] ?? '')) commands += Number(calls);
  }
  const seconds = (name: string): number => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(cpu)?.[1] ?? 0);
  return { commands, cpuMicroseconds: (seconds('used_cpu_user') + seconds('used_cpu_sys')) * 1e6 };
}

/** The memory of a database's keys, by kind. */
export interface KeyspaceUse {
  readonly keys: number;
  readonly bytes: number;
  readonly kinds: ReadonlyMap<string, { readonly keys: number; readonly bytes: number }>;
}

const SCAN_COUNT = 1_000;

/** Measures the memory of every key of the client's database. @param kindOf names the kind of a key */
export async function weighKeyspace(redis: Redis, kindOf: (key: string) => string): Promise<KeyspaceUse> {
  const kinds = new Map<string, { keys: number; bytes: number }>();
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'COUNT', SCAN_COUNT);
    const weights = await Promise.all(
      keys.map(async (key) => await redis.memory('USAGE', key, 'SAMPLES', 0)),
    );
    keys.forEach((key, i) => {
      const kind = kindOf(key);
      const known = kinds.get(kind) ?? { keys: 0, bytes: 0 };
      known.keys++;
      known.bytes += weights[i] ?? 0;
      kinds.set(kind, known);
    });
    cursor = next;
  } while (cursor !== '0');
  const all = [...kinds.values()];
  return {
    keys: all.reduce((sum, { keys }) => sum + keys, 0),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    kinds,
  };
}
