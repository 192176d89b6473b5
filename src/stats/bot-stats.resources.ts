import type { Resource } from '../cache/resource.js';
import type { Config } from '../config.js';
import { botStatsTag, botTag } from '../invalidation/tags.js';
import type { BotStatsRepository } from './bot-stats.repository.js';
import type { BotDetails, BotStats } from './bot-stats.type.js';

type Ttls = Config['cache']['ttlSeconds'];

/** `bot:{id}:stats` */
export const botStatsResource = (repository: BotStatsRepository, ttl: Ttls): Resource<string, BotStats> => ({
  name: 'stats',
  key: (keys) => {
    const key = keys.template('bot:{id}:stats');
    return (id) => key({ id });
  },
  entityId: (id) => id,
  dependsOn: [botStatsTag],
  ttlSeconds: ttl.stats,
  load: async (ids) => await repository.findMany(ids),
});

/** `bot:{id}:details` */
export const botDetailsResource = (
  repository: BotStatsRepository,
  ttl: Ttls,
): Resource<string, BotDetails> => ({
  name: 'details',
  key: (keys) => {
    const key = keys.template('bot:{id}:details');
    return (id) => key({ id });
  },
  entityId: (id) => id,
  dependsOn: [botTag, botStatsTag],
  ttlSeconds: ttl.details,
  load: async (ids) => await repository.findDetails(ids),
});
