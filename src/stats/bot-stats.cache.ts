import { BOT_SHAPE } from '../bots/bot.cache.js';
import type { Resource } from '../cache/resource.js';
import type { ShapeOf } from '../cache/shape.js';
import type { Config } from '../config.js';
import { botStatsTag, botTag } from '../invalidation/tags.js';
import type { BotStatsRepository } from './bot-stats.repository.js';
import type { BotDetails, BotStats } from './bot-stats.type.js';

const STATS_SHAPE: ShapeOf<BotStats> = {
  botId: 'string',
  totalMessages: 'number',
  inboundMessages: 'number',
  outboundMessages: 'number',
  failedMessages: 'number',
  totalConversations: 'number',
  averageResponseTimeMs: 'number?',
  successRate: 'number?',
  lastMessageAt: 'string?',
  computedAt: 'string',
};

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
  shape: STATS_SHAPE,
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
  shape: { bot: BOT_SHAPE, stats: STATS_SHAPE },
  ttlSeconds: ttl.details,
  load: async (ids) => await repository.findDetails(ids),
});
