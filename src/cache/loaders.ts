import DataLoader from 'dataloader';

import type { CachedResource, ReadDependencies } from './core/resource.js';

/** The maximum number of ids in one read of a loader. */
const MAX_BATCH = 1_000;

type LoaderOf<Cached> =
  Cached extends CachedResource<infer Id, infer Value> ? DataLoader<Id, Value | null, string> : never;

/** A loader for each resource, by the same names. */
export type Loaders<Resources> = { readonly [Name in keyof Resources]: LoaderOf<Resources[Name]> };

/**
 * Makes a loader for each resource, for one request. A loader reads ids that are requested together in one batch, and
 * each id once. The request clears the loaders after a write.
 * @param dependencies collects the dependencies of the values, if the response is to be cached
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

/** Clears loaders, so that the rest of the request reads again. */
export function clearLoaders(
  loaders: Readonly<Record<string, Pick<DataLoader<unknown, unknown>, 'clearAll'>>>,
): void {
  for (const loader of Object.values(loaders)) loader.clearAll();
}
