import DataLoader from 'dataloader';

import type { CachedResource, ReadDependencies } from './core/resource.js';

/** The most ids that a loader reads at once. */
const MAX_BATCH = 1_000;

type LoaderOf<Cached> =
  Cached extends CachedResource<infer Id, infer Value> ? DataLoader<Id, Value | null, string> : never;

/** A loader for each of the resources, by the same names. */
export type Loaders<Resources> = { readonly [Name in keyof Resources]: LoaderOf<Resources[Name]> };

/**
 * A loader for each cached thing, for one request: ids that are asked for together are read together, and each once. After a
 * change the request clears them.
 * @param dependencies is told what the values depend on, where the response is to be cached.
 */
export function createLoaders<Resources extends object>(
  resources: Resources,
  dependencies?: ReadDependencies,
): Loaders<Resources> {
  const loaders = Object.entries(resources as Record<string, CachedResource<unknown, unknown>>).map(
    ([name, cached]) => [
      name,
      new DataLoader<unknown, unknown, string>(async (ids) => await cached.readMany(ids, dependencies), {
        maxBatchSize: MAX_BATCH,
        cacheKeyFn: (id) => (typeof id === 'string' ? id : JSON.stringify(id)),
      }),
    ],
  );
  return Object.fromEntries(loaders) as Loaders<Resources>;
}

/** Makes the rest of a request read again. */
export function clearLoaders(
  loaders: Readonly<Record<string, Pick<DataLoader<unknown, unknown>, 'clearAll'>>>,
): void {
  for (const loader of Object.values(loaders)) loader.clearAll();
}
