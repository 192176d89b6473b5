import type { BotResources } from '../bots/bot.cache.js';
import type { RequestContext } from '../context.js';
import type { MessagePageResources } from './message-page.cache.js';

/** The context of these resolvers, with the loaders that they use. */
export type MessageContext = RequestContext<BotResources & MessagePageResources>;
