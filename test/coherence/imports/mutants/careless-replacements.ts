import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import { epochOf } from '../../../../src/cache/core/snapshot.js';
import { serverModule } from '../server-module.js';

/** Newer than every transaction of its epoch. */
const LAST = Number.MAX_SAFE_INTEGER;

/** A writer's statistics replace cached ones even if the cached ones are newer, as if they had seen every write. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { replace } = RedisStore.prototype;

RedisStore.prototype.replace = async function (entry, others, newer) {
  const snapshot = `${LAST}:${LAST}:${epochOf(newer.snapshot)}`;
  return await replace.call(this, entry, others, { ...newer, version: LAST, snapshot });
};
