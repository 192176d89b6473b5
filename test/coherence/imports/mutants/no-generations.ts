import type * as RedisStoreModule from '../../../../src/cache/redis/redis-store.js';
import type { EntryKeys } from '../../../../src/cache/redis/cache-store.js';
import type { RedisCircuitBreaker } from '../../../../src/cache/redis/redis-circuit-breaker.js';
import { serverModule } from '../server-module.js';

/** Reads and fills ignore generations: the cache is plain GET, SET and DEL. */
const { RedisStore } = await serverModule<typeof RedisStoreModule>('cache/redis/redis-store');
const { read, readOrClaim, claim } = RedisStore.prototype;

const anyGeneration = (entry: EntryKeys | undefined): string =>
  (entry?.generations ?? []).map(() => 'any').join('.');

RedisStore.prototype.read = async function (entries) {
  const stored = await read.call(this, entries);
  return stored.map((each, i) => ({ ...each, generation: anyGeneration(entries[i]) }));
};

RedisStore.prototype.readOrClaim = async function (entries, token) {
  const { stored, claims } = await readOrClaim.call(this, entries, token);
  return {
    stored: stored.map((each, i) => ({ ...each, generation: anyGeneration(entries[i]) })),
    claims: claims?.map((claimed, i) => claimed && { ...claimed, generation: anyGeneration(entries[i]) }),
  };
};

RedisStore.prototype.claim = async function (entries, token) {
  const claims = await claim.call(this, entries, token);
  return claims.map((claimed, i) => claimed && { ...claimed, generation: anyGeneration(entries[i]) });
};

RedisStore.prototype.fill = async function (fills) {
  await (this as unknown as { circuitBreaker: RedisCircuitBreaker }).circuitBreaker.run(
    'fill',
    async (client) => {
      await Promise.all(
        fills.map(async ({ keys, envelope, ttlMs }) => await client.set(keys.key, envelope, 'PX', ttlMs)),
      );
    },
  );
  return { stored: fills.length, outdated: 0 };
};
