import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import type { RedisCircuitBreaker } from '../../../../src/cache/redis/redis-circuit-breaker.js';
import { serverModule } from '../server-module.js';

/** Generations count up from 1 instead of being random, so an evicted one returns to an earlier value. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { readOrClaim, claim, remove } = RedisStore.prototype;

RedisStore.prototype.readOrClaim = async function (entries) {
  return await readOrClaim.call(this, entries, '1');
};

RedisStore.prototype.claim = async function (entries) {
  return await claim.call(this, entries, '1');
};

RedisStore.prototype.remove = async function (removals, operation, whileOpen) {
  const isGeneration = (key: string) => key.endsWith(':gen');
  const generations = removals.flatMap(({ keys }) => keys.filter(isGeneration));
  const values = removals.map(({ keys, indexes }) => ({
    keys: keys.filter((key) => !isGeneration(key)),
    indexes,
  }));
  await (this as unknown as { circuitBreaker: RedisCircuitBreaker }).circuitBreaker.run(
    operation,
    async (client) => {
      await Promise.all(generations.map(async (key) => await client.incr(key)));
    },
  );
  await remove.call(this, values, operation, whileOpen);
};
