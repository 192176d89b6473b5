import { Authorization, type Identity } from './auth/authorization.js';
import type { PrincipalResources } from './auth/principal.cache.js';
import { clearLoaders, createLoaders, observedLoaders, type Loaders } from './cache/loaders.js';
import type { BoundResources } from './cache/core/resource.js';
import type { Work } from './cache/core/work.js';
import type { CacheReport } from './cache/response/cache-report.js';
import type { ResponseDependencies } from './cache/response/response-dependencies.js';
import { AnswerBudget } from './graphql/answer-budget.js';
import type { OperationContext } from './graphql/operation-context.js';
import type { IdempotencyKey } from './mutations/idempotency-key.js';

/** Descriptions of cached resources, by name. */
type Descriptions = Readonly<Record<string, object>>;

/**
 * The state that the resolvers of one request share: the caller's authorization, and loaders that batch and remember
 * for this request only. Resolvers name the resources that they read, so that this file does not depend on any
 * domain.
 */
export interface RequestContext<Described extends Descriptions = Descriptions> extends OperationContext {
  readonly authorization: Authorization;
  readonly loaders: Loaders<BoundResources<Described>>;
  /** By which the client may repeat the mutations of the request; undefined: it must not. */
  readonly idempotencyKey: IdempotencyKey | undefined;
  /** Collects what is read without the loaders as well. */
  readonly dependencies: ResponseDependencies;
  /** The work for the request: the loaders' reads are parts of it. */
  readonly work: Work | undefined;
  /** Clears the loaders, so that the rest of the request reads again. Call it after each change. */
  clearLoaders(): void;
}

export function createRequestContext<Described extends PrincipalResources>(
  resources: BoundResources<Described>,
  request: {
    readonly requestId: string;
    readonly identity: Identity;
    readonly dependencies: ResponseDependencies;
    /** The maximum size of the answer, in characters. */
    readonly maxCharacters: number;
    /** Lists what the fields read, if that was asked for. */
    readonly report?: CacheReport | undefined;
    readonly idempotencyKey?: IdempotencyKey | undefined;
    readonly work?: Work | undefined;
  },
): RequestContext<Described> {
  const { requestId, identity, dependencies, maxCharacters, report, idempotencyKey, work } = request;
  const loaders = createLoaders(resources, dependencies, work);
  const answerBudget = new AnswerBudget(maxCharacters);
  const { principal } = loaders as Loaders<BoundResources<PrincipalResources>>;
  const context: RequestContext<Described> = {
    requestId,
    found: { operation: undefined },
    authorization: new Authorization(identity, principal),
    loaders,
    idempotencyKey,
    work,
    dependencies,
    answerBudget,
    clearLoaders: () => clearLoaders(loaders),
    startAgain() {
      clearLoaders(loaders);
      answerBudget.restart();
      dependencies.restart();
    },
  };
  if (!report) return context;
  const at = (path: string): RequestContext<Described> => ({
    ...context,
    loaders: observedLoaders(loaders, (resource, id) => report.asked(resource, id, path)),
  });
  return { ...context, at };
}
