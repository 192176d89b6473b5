import DataLoader from 'dataloader';

import { Authorization, type Identity } from './auth/authorization.js';
import type { ResponseDependencies } from './cache/response/response-dependencies.js';
import type { CachedResource } from './cache/resource.js';
import { AnswerBudget } from './graphql/answer-budget.js';
import type { Resources } from './resources.js';

/** The most ids that a loader reads at once. */
const MAX_BATCH = 1_000;

type LoaderOf<Cached> =
  Cached extends CachedResource<infer Id, infer Value> ? DataLoader<Id, Value | null, string> : never;

type Loaders = { readonly [Name in keyof Resources]: LoaderOf<Resources[Name]> };

/** A loader for each cached thing, for one request. */
function createLoaders(resources: Resources, dependencies: ResponseDependencies | undefined): Loaders {
  const loaders = Object.entries(resources as Record<string, CachedResource<unknown, unknown>>).map(
    ([name, cached]) => [
      name,
      new DataLoader<unknown, unknown, string>(async (ids) => await cached.readMany(ids, dependencies), {
        maxBatchSize: MAX_BATCH,
        cacheKeyFn: (id) => (typeof id === 'string' ? id : JSON.stringify(id)),
      }),
    ],
  );
  return Object.fromEntries(loaders) as Loaders;
}

/** What the resolvers of one request share: who is asking, and loaders that batch and remember for this request only. */
export interface RequestContext {
  readonly requestId: string;
  readonly authorization: Authorization;
  readonly loaders: Loaders;
  /** What the answer is built from, if the request wants to know. */
  readonly dependencies: ResponseDependencies | undefined;
  /** What the answer may still hold. */
  readonly answerBudget: AnswerBudget;
  /** Makes the rest of the request read again: called after each change. */
  clearLoaders(): void;
}

export function createRequestContext(
  resources: Resources,
  request: {
    readonly requestId: string;
    readonly identity: Identity;
    readonly dependencies: ResponseDependencies | undefined;
    /** The largest answer, in characters. */
    readonly maxCharacters: number;
  },
): RequestContext {
  const { dependencies } = request;
  const loaders = createLoaders(resources, dependencies);
  return {
    requestId: request.requestId,
    authorization: new Authorization(request.identity, loaders.principal),
    loaders,
    dependencies,
    answerBudget: new AnswerBudget(request.maxCharacters),
    clearLoaders() {
      for (const loader of Object.values(loaders)) loader.clearAll();
    },
  };
}
