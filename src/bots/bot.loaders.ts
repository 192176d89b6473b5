import DataLoader from 'dataloader';

import type { ResponseDependencies } from '../cache/response/response-dependencies.js';
import type { CachedResource } from '../cache/resource.js';
import { encodeKeyText } from '../cache/redis/keys.js';
import type { BotPageContent } from './bot-page.type.js';
import type { BotPageQuery } from './bot.repository.js';
import type { Bot } from './bot.type.js';

export interface BotResources {
  readonly bot: CachedResource<string, Bot>;
  readonly botPage: CachedResource<BotPageQuery, BotPageContent>;
  readonly organizationBots: CachedResource<string, readonly Bot[]>;
}

/** The loaders of one request for bots. */
export const createBotLoaders = (
  resources: BotResources,
  dependencies: ResponseDependencies | undefined,
) => ({
  bot: new DataLoader<string, Bot | null>(async (ids) => await resources.bot.readMany(ids, dependencies)),
  botPage: new DataLoader<BotPageQuery, BotPageContent | null, string>(
    async (queries) => await resources.botPage.readMany(queries, dependencies),
    {
      cacheKeyFn: ({ orgId, page, limit, search }) => `${orgId}:${page}:${limit}:${encodeKeyText(search)}`,
    },
  ),
  organizationBots: new DataLoader<string, readonly Bot[] | null>(
    async (orgIds) => await resources.organizationBots.readMany(orgIds, dependencies),
  ),
});
