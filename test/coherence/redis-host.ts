import { copyFile, mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import { Redis } from 'ioredis';

import { createRedis, type RedisService } from '../support/services.js';
import type { RedisSide } from './redis-side.js';

/** A Redis that can be killed and started again at the same address. */
export class RedisHost implements RedisSide {
  readonly settings = {};

  private constructor(
    private service: RedisService,
    private readonly flags: readonly string[],
  ) {}

  static async start(settings: readonly string[] = []): Promise<RedisHost> {
    return new RedisHost(await createRedis({ settings }), settings);
  }

  get url(): string {
    return this.service.url;
  }

  get port(): number {
    return this.service.port;
  }

  /** Kills it with SIGKILL. */
  async kill(): Promise<void> {
    await this.service.kill();
  }

  freeze(): void {
    this.service.freeze();
  }

  thaw(): void {
    this.service.thaw();
  }

  /** Starts it after {@link kill}, empty or from a dump. */
  async restart(dump?: string): Promise<void> {
    const settings =
      dump === undefined ? [] : ['--dir', path.dirname(dump), '--dbfilename', path.basename(dump)];
    this.service = await createRedis({ port: this.port, settings: [...this.flags, ...settings] });
  }

  /** Saves a copy of its data. Returns the file's path. */
  async dump(): Promise<string> {
    return await this.admin(async (redis) => {
      await redis.save();
      const [, folder] = (await redis.config('GET', 'dir')) as [string, string];
      const [, name] = (await redis.config('GET', 'dbfilename')) as [string, string];
      const copy = path.join(await mkdtemp(path.join(folder, 'dump-')), 'old.rdb');
      await copyFile(path.join(folder, name), copy);
      return copy;
    });
  }

  /** Runs commands on a connection of its own, which no server uses. */
  async admin<T>(use: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.url);
    try {
      return await use(redis);
    } finally {
      redis.disconnect();
    }
  }

  async stop(): Promise<void> {
    await this.service.stop();
  }
}
