import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import { serverModule } from '../server-module.js';

/** A writer's statistics replace cached ones even if the cached ones are newer. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { replace } = RedisStore.prototype;

RedisStore.prototype.replace = async function (entry, others, newer) {
  await replace.call(this, entry, others, { ...newer, version: Number.MAX_SAFE_INTEGER });
};
