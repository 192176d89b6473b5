import DataLoader from 'dataloader';

import { Access, type Identity } from './access/access.js';
import type { Principal } from './access/principal.js';
import { createBotLoaders, type BotResources } from './bots/bot.loaders.js';
import type { ReadTrace } from './cache/read-trace.js';
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

const createLoaders = (resources: Resources, trace: ReadTrace | undefined) => ({
  ...createBotLoaders(resources, trace),
  ...createBotStatsLoaders(resources, trace),
  ...createMessageLoaders(resources, trace),
  ...createOrganizationLoaders(resources, trace),
  principal: new DataLoader<string, Principal | null>(
    async (ids) => await resources.principal.readMany(ids, trace),
  ),
});

/** What the resolvers of one request share: who is asking, and loaders that batch and remember for this request only. */
export interface RequestContext {
  readonly requestId: string;
  readonly access: Access;
  readonly loaders: ReturnType<typeof createLoaders>;
  /** What the answer is built from, if the request wants to know. */
  readonly trace: ReadTrace | undefined;
  /** What the answer may still hold. */
  readonly answerBudget: AnswerBudget;
  /** Makes the rest of the request read again: called after each change. */
  forgetLoaded(): void;
}

export function createRequestContext(
  resources: Resources,
  request: {
    readonly requestId: string;
    readonly identity: Identity;
    readonly trace: ReadTrace | undefined;
    /** The largest answer, in characters. */
    readonly maxCharacters: number;
  },
): RequestContext {
  const { trace } = request;
  const loaders = createLoaders(resources, trace);
  return {
    requestId: request.requestId,
    access: new Access(request.identity, loaders.principal),
    loaders,
    trace,
    answerBudget: new AnswerBudget(request.maxCharacters),
    forgetLoaded() {
      for (const loader of Object.values(loaders)) loader.clearAll();
    },
  };
}
