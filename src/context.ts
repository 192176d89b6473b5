import { Authorization, type Identity } from './auth/authorization.js';
import { clearLoaders, createLoaders, type Loaders } from './cache/loaders.js';
import type { ResponseDependencies } from './cache/response/response-dependencies.js';
import { AnswerBudget } from './graphql/answer-budget.js';
import type { Resources } from './resources.js';

/** What the resolvers of one request share: who is asking, and loaders that batch and remember for this request only. */
export interface RequestContext {
  readonly requestId: string;
  readonly authorization: Authorization;
  readonly loaders: Loaders<Resources>;
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
    clearLoaders: () => clearLoaders(loaders),
  };
}
