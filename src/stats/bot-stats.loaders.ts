import DataLoader from 'dataloader';

import type { ReadTrace } from '../cache/read-trace.js';
import type { CachedResource } from '../cache/resource.js';
import type { BotDetails, BotStats } from './bot-stats.type.js';

export interface BotStatsResources {
  readonly botStats: CachedResource<string, BotStats>;
  readonly botDetails: CachedResource<string, BotDetails>;
}

/** The loaders of one request for statistics. */
export const createBotStatsLoaders = (resources: BotStatsResources, trace: ReadTrace | undefined) => ({
  botStats: new DataLoader<string, BotStats | null>(
    async (ids) => await resources.botStats.readMany(ids, trace),
    {
      maxBatchSize: 1_000,
    },
  ),
  botDetails: new DataLoader<string, BotDetails | null>(
    async (ids) => await resources.botDetails.readMany(ids, trace),
  ),
});
