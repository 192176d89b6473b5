import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import { serverModule } from '../server-module.js';

/** A helper adds a write to the generation of one of its tags only. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { addWrites } = RedisStore.prototype;

RedisStore.prototype.addWrites = async function (writes, ...rest) {
  await addWrites.call(this, { ...writes, ofTags: writes.ofTags.slice(0, 1) }, ...rest);
};
