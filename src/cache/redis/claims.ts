import type { Claim, EntryKeys, ReadOrClaimed, Stored } from './cache-store.js';
import { unlessSplit } from './moving-slots.js';
import type { RedisClient } from './redis-client.js';
import { CLAIM, READ_OR_CLAIM } from './scripts.js';

/**
 * TTL of a generation that was made for a load which may find nothing (ms): as long as any load may take. With a
 * longer TTL, requests for ids that do not exist would fill Redis with generations.
 */
export const CLAIM_LIFE_MS = 60_000;
/** Longer than nearly every load (ms). If a lock expires early, a second process loads as well. */
const LOCK_LIFE_MS = 2_000;

const lockKeyOf = ({ key }: EntryKeys): string => `${key}:lock`;

/**
 * Runs {@link READ_OR_CLAIM} for entries of one node.
 * @param everything the key of the transactions that changed everything
 */
export async function readOrClaimGroup(
  client: RedisClient,
  everything: string,
  entries: readonly EntryKeys[],
  token: string,
): Promise<ReadOrClaimed> {
  const [first] = entries;
  if (!first) return { stored: [], claims: undefined };
  const lockKey = lockKeyOf(first);
  const each = first.generations.length;
  const keys = [everything, lockKey];
  for (const { key, generations } of entries) keys.push(key, ...generations);
  const args = [token, CLAIM_LIFE_MS, LOCK_LIFE_MS, each];
  const reply = (await client.eval(READ_OR_CLAIM, keys.length, ...keys, ...args)) as (string | null)[];
  const [changedAll, outcome, ...found] = reply;
  const stored = entries.map((_, i): Stored => {
    const [raw = null, ...tokens] = found.slice(i * (each + 1), (i + 1) * (each + 1));
    return {
      raw,
      generation: tokens.includes(null) ? undefined : tokens.join('.'),
      everything: changedAll ?? '',
    };
  });
  if (outcome == null) return { stored, claims: undefined };
  const [mine, lock] = [outcome.startsWith('+'), { key: lockKey, holds: outcome.slice(1) }];
  return { stored, claims: stored.map(({ generation = '' }) => ({ mine, lock, generation })) };
}

/** Runs {@link CLAIM} for entries of one node. */
export async function claimGroup(
  client: RedisClient,
  group: readonly EntryKeys[],
  token: string,
): Promise<readonly (Claim | undefined)[]> {
  const [first] = group;
  if (!first) return [];
  const lockKey = lockKeyOf(first);
  const keys = [lockKey];
  for (const { generations } of group) keys.push(...generations);
  const reply = await unlessSplit(
    client.eval(CLAIM, keys.length, ...keys, token, CLAIM_LIFE_MS, LOCK_LIFE_MS),
    undefined,
  );
  if (reply === undefined) return group.map(() => undefined);
  const [outcome = '', ...tokens] = reply as string[];
  const mine = outcome.startsWith('+');
  const lock = { key: lockKey, holds: outcome.slice(1) };
  const each = first.generations.length;
  return group.map((_, i) => ({
    mine,
    lock,
    generation: each === 1 ? (tokens[i] ?? '') : tokens.slice(i * each, (i + 1) * each).join('.'),
  }));
}
