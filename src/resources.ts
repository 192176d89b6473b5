import { principalResources } from './auth/principal.cache.js';
import { PrincipalRepository } from './auth/principal.repository.js';
import { botResources } from './bots/bot.cache.js';
import { BotPageRepository } from './bots/bot-page.repository.js';
import { BotRepository } from './bots/bot.repository.js';
import { bindAll, type CachedResource, type Resource } from './cache/core/resource.js';
import type { Ttls } from './config.js';
import { repositoryOn, type Database } from './db/client.js';
import { messagePageResources } from './messages/message-page.cache.js';
import { MessagePageRepository } from './messages/message-page.repository.js';
import { MessageRepository } from './messages/message.repository.js';
import { organizationResources } from './organizations/organization.cache.js';
import { OrganizationRepository } from './organizations/organization.repository.js';
import { botStatsResources } from './stats/bot-stats.cache.js';
import { BotStatsRepository } from './stats/bot-stats.repository.js';

/** Binds the description of a resource to a cache. */
export type Bind = <Id, Value>(resource: Resource<Id, Value>) => CachedResource<Id, Value>;

/** All SQL of the domains. */
export const createRepositories = (db: Database) => ({
  bots: new BotRepository(db),
  botPages: new BotPageRepository(db),
  messages: new MessageRepository(db),
  messagePages: new MessagePageRepository(db),
  organizations: new OrganizationRepository(db),
  principals: new PrincipalRepository(db),
  stats: new BotStatsRepository(db),
});

export type Repositories = ReturnType<typeof createRepositories>;

/** The same SQL, executed by another client. */
export const repositoriesOn = (db: Database, repositories: Repositories): Repositories => ({
  bots: repositoryOn(db, repositories.bots),
  botPages: repositoryOn(db, repositories.botPages),
  messages: repositoryOn(db, repositories.messages),
  messagePages: repositoryOn(db, repositories.messagePages),
  organizations: repositoryOn(db, repositories.organizations),
  principals: repositoryOn(db, repositories.principals),
  stats: repositoryOn(db, repositories.stats),
});

/** All cached resources. Each request gets a loader of the same name for each. */
export const createResources = (bind: Bind, repositories: Repositories, ttl: Ttls) =>
  bindAll(bind, {
    ...principalResources(repositories.principals, ttl),
    ...organizationResources(repositories.organizations, ttl),
    ...botResources(repositories.bots, repositories.botPages, ttl),
    ...botStatsResources(repositories.stats, ttl),
    ...messagePageResources(repositories.messagePages, ttl),
  });

export type Resources = ReturnType<typeof createResources>;
