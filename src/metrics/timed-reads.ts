import type { CachedResource } from '../cache/core/resource.js';

/**
 * Times the reads of a cached resource, those that load values included.
 * @param ended is called after each read, with its time in seconds
 */
export function timedReads<Id, Value>(
  resource: CachedResource<Id, Value>,
  ended: (resource: string, seconds: number) => void,
): CachedResource<Id, Value> {
  return {
    ...resource,
    readMany(ids, dependencies) {
      const startedAt = performance.now();
      const reading = resource.readMany(ids, dependencies);
      const end = () => ended(resource.name, (performance.now() - startedAt) / 1_000);
      // The reader gets the same promise, and so waits no longer.
      void reading.then(end, end);
      return reading;
    },
  };
}
