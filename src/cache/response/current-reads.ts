import { hasSeenEach, isOfGenerations } from '../core/generation.js';
import type { Dependency } from '../core/resource.js';
import type { CurrentGenerations } from '../redis/cache-store.js';

/** The keys of the generations of values, each once. */
export const generationKeysOf = (reads: readonly Dependency[]): string[] => [
  ...new Set(reads.flatMap(({ generationKeys }) => generationKeys)),
];

/**
 * Whether each of these values is still of its generations.
 * @param keys those of {@link generationKeysOf}
 * @param current what Redis holds now, aligned with the keys
 */
export function areCurrent(
  reads: readonly Dependency[],
  keys: readonly string[],
  { generations, everything }: CurrentGenerations,
): boolean {
  if (generations.includes(null)) return false;
  const byKey = new Map(keys.map((key, i) => [key, generations[i] ?? '']));
  return reads.every(({ generationKeys, generation, snapshot }) => {
    if (generation === undefined) return false;
    const now = generationKeys.map((key) => byKey.get(key)).join('.');
    return isOfGenerations(generation, now, snapshot) && hasSeenEach(everything, snapshot);
  });
}
