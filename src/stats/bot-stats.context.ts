import type { BotResources } from '../bots/bot.cache.js';
import type { RequestContext } from '../context.js';
import type { BotStatsResources } from './bot-stats.cache.js';

/** The context of these resolvers, with the loaders that they use. */
export type StatsContext = RequestContext<BotResources & BotStatsResources>;
