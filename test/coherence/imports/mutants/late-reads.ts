import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import type { Stored } from '../../../../src/cache/redis/cache-store.js';
import { serverModule } from '../server-module.js';

/** Readers share a read of Redis until its reply arrives, not only until it is sent. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { read } = RedisStore.prototype;
const reads = new Map<string, Promise<Stored[]>>();

RedisStore.prototype.read = async function (entries) {
  const name = entries.map(({ key }) => key).join(' ');
  const pending = reads.get(name) ?? read.call(this, entries).finally(() => reads.delete(name));
  reads.set(name, pending);
  return await pending;
};
