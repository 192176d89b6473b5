import path from 'node:path';
import { redisFromDebianPackages } from './debian-redis.js';
import { findOnPath } from './executables.js';

/** A Redis (or Valkey) server program and the environment that it needs. */
export interface RedisBinary {
  readonly command: string;
  /** To be added to the environment of the server and of `cli`. */
  readonly env: Record<string, string>;
  /** The command-line client that goes with it, where there is one. */
  readonly cli?: string;
  readonly origin: 'path' | 'debian-package';
}

export interface RedisBinaryOptions {
  /** The folder of a Redis instance; what is downloaded is kept beside it, for all instances there. */
  readonly dataDir: string;
  readonly log: (line: string) => void;
}

/** One way to come by a server: undefined where it does not apply to this machine; throws where it failed. */
type Source = (options: RedisBinaryOptions) => Promise<RedisBinary | undefined>;

/** In the order in which they are tried. A server written in JavaScript would be one more entry at the end. */
const SOURCES: readonly Source[] = [fromPath, fromDebianPackages];

const found = new Map<string, Promise<RedisBinary>>();

/**
 * Finds a Redis server program: `redis-server` or `valkey-server` on PATH, else the one of the distribution's
 * package, unpacked into a folder beside `dataDir` without installing it.
 *
 * @throws if there is none; the message says how to get one
 */
export async function redisServerBinary(options: RedisBinaryOptions): Promise<RedisBinary> {
  const key = packageFolder(options.dataDir);
  const binary = found.get(key) ?? search(options);
  found.set(key, binary);
  try {
    return await binary;
  } catch (error) {
    // The next caller may have more luck, for instance with the network.
    found.delete(key);
    throw error;
  }
}

async function search(options: RedisBinaryOptions): Promise<RedisBinary> {
  const failures: string[] = [];
  for (const source of SOURCES) {
    try {
      const binary = await source(options);
      if (binary !== undefined) return binary;
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(
    [
      'There is no Redis server on this machine. Any one of these provides one:',
      '  - install it: `apt-get install redis-server` (Debian, Ubuntu), `brew install redis` (macOS)',
      '  - name one that runs elsewhere: REDIS_URL=redis://host:6379 (or REDIS_URL=off for no cache)',
      '  - start the one in compose.yaml: `docker compose up -d redis`',
      ...failures,
    ].join('\n'),
  );
}

async function fromPath(): Promise<RedisBinary | undefined> {
  for (const name of ['redis', 'valkey']) {
    const command = await findOnPath(`${name}-server`);
    if (command === undefined) continue;
    const cli = await findOnPath(`${name}-cli`);
    return { command, env: {}, origin: 'path', ...(cli === undefined ? {} : { cli }) };
  }
  return undefined;
}

async function fromDebianPackages({ dataDir, log }: RedisBinaryOptions): Promise<RedisBinary | undefined> {
  const unpacked = await redisFromDebianPackages(packageFolder(dataDir), log);
  return unpacked === undefined ? undefined : { ...unpacked, origin: 'debian-package' };
}

function packageFolder(dataDir: string): string {
  const folder = path.join(path.dirname(path.resolve(dataDir)), 'redis-server');
  if (folder === path.resolve(dataDir)) {
    throw new Error(
      `${folder} is where a downloaded Redis server is kept; give the instance another folder.`,
    );
  }
  return folder;
}
