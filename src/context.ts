import DataLoader from 'dataloader';

import { Authorization, type Identity } from './auth/authorization.js';
import type { Principal } from './auth/principal.js';
import { createBotLoaders, type BotResources } from './bots/bot.loaders.js';
import type { ResponseDependencies } from './cache/response/response-dependencies.js';
import type { CachedResource } from './cache/resource.js';
import { AnswerBudget } from './graphql/answer-budget.js';
import { createMessageLoaders, type MessageResources } from './messages/message.loaders.js';
import {
  createOrganizationLoaders,
  type OrganizationResources,
} from './organizations/organization.loaders.js';
import { createBotStatsLoaders, type BotStatsResources } from './stats/bot-stats.loaders.js';

/** Everything that is read through the cache. */
export type Resources = BotResources &
  BotStatsResources &
  MessageResources &
  OrganizationResources & { readonly principal: CachedResource<string, Principal> };

const createLoaders = (resources: Resources, dependencies: ResponseDependencies | undefined) => ({
  ...createBotLoaders(resources, dependencies),
  ...createBotStatsLoaders(resources, dependencies),
  ...createMessageLoaders(resources, dependencies),
  ...createOrganizationLoaders(resources, dependencies),
  principal: new DataLoader<string, Principal | null>(
    async (ids) => await resources.principal.readMany(ids, dependencies),
  ),
});

/** What the resolvers of one request share: who is asking, and loaders that batch and remember for this request only. */
export interface RequestContext {
  readonly requestId: string;
  readonly authorization: Authorization;
  readonly loaders: ReturnType<typeof createLoaders>;
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
