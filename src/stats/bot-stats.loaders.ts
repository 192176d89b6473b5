import DataLoader from 'dataloader';

import type { ResponseDependencies } from '../cache/response/response-dependencies.js';
import type { CachedResource } from '../cache/resource.js';
import type { BotDetails, BotStats } from './bot-stats.type.js';

export interface BotStatsResources {
  readonly botStats: CachedResource<string, BotStats>;
  readonly botDetails: CachedResource<string, BotDetails>;
}

/** The loaders of one request for statistics. */
export const createBotStatsLoaders = (
  resources: BotStatsResources,
  dependencies: ResponseDependencies | undefined,
) => ({
  botStats: new DataLoader<string, BotStats | null>(
    async (ids) => await resources.botStats.readMany(ids, dependencies),
    {
      maxBatchSize: 1_000,
    },
  ),
  botDetails: new DataLoader<string, BotDetails | null>(
    async (ids) => await resources.botDetails.readMany(ids, dependencies),
  ),
});
