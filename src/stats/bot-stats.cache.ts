import { BOT_SHAPE } from '../bots/bot.cache.js';
import { cached } from '../cache/core/resource.js';
import type { ShapeOf } from '../cache/core/shape.js';
import type { Ttls } from '../config.js';
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

export const botStatsResources = (stats: BotStatsRepository, ttl: Ttls) => ({
  botStats: cached<BotStats>({
    key: 'bot:{id}:stats',
    tags: [botStatsTag],
    shape: STATS_SHAPE,
    timesOfLoad: ['computedAt'],
    ttlSeconds: ttl.botStats,
    load: async (ids, since) => await stats.findMany(ids, since),
  }),
  botDetails: cached<BotDetails>({
    key: 'bot:{id}:details',
    tags: [botTag, botStatsTag],
    shape: { bot: BOT_SHAPE, stats: STATS_SHAPE },
    timesOfLoad: ['computedAt'],
    ttlSeconds: ttl.botDetails,
    load: async (ids, since) => await stats.findDetails(ids, since),
  }),
});

export type BotStatsResources = ReturnType<typeof botStatsResources>;
