import type { BotResources } from '../bots/bot.cache.js';
import type { RequestContext } from '../context.js';
import type { OrganizationResources } from './organization.cache.js';

/** The context of these resolvers, with the loaders that they use. */
export type OrganizationContext = RequestContext<BotResources & OrganizationResources>;
