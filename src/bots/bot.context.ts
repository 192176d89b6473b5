import type { RequestContext } from '../context.js';
import type { BotResources } from './bot.cache.js';

/** The context of these resolvers, with the loaders that they use. */
export type BotContext = RequestContext<BotResources>;
