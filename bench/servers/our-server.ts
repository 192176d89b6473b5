import { createAuthenticator } from '../../src/auth/authentication.js';
import { PrincipalRepository } from '../../src/auth/principal.repository.js';
import { principalResource } from '../../src/auth/principal.cache.js';
import { BotRepository } from '../../src/bots/bot.repository.js';
import { BotResolver } from '../../src/bots/bot.resolver.js';
import { botPageResource, botResource, organizationBotsResource } from '../../src/bots/bot.cache.js';
import { BotService } from '../../src/bots/bot.service.js';
import { RefusedWrites } from '../../src/bots/refused-writes.js';
import type { Invalidator } from '../../src/cache/invalidation/invalidator.js';
import type { CachedResource, Resource } from '../../src/cache/resource.js';
import type { Tag } from '../../src/cache/invalidation/tags.js';
import { connectDatabase } from '../../src/db/client.js';
import { buildGraphQLSchema } from '../../src/schema.js';
import { InvalidationService } from '../../src/invalidation/invalidation.service.js';
import { createLogger } from '../../src/logger.js';
import { MessagePageRepository } from '../../src/messages/message-page.repository.js';
import { messagePageResource } from '../../src/messages/message-page.cache.js';
import { MessageRepository } from '../../src/messages/message.repository.js';
import { MessageResolver } from '../../src/messages/message.resolver.js';
import { MessageService } from '../../src/messages/message.service.js';
import { OrganizationRepository } from '../../src/organizations/organization.repository.js';
import { organizationResource } from '../../src/organizations/organization.cache.js';
import { Drain } from '../../src/http/drain.js';
import { createGraphQLServer } from '../../src/graphql/graphql-server.js';
import { createHttpServer } from '../../src/http/http-server.js';
import { createMetrics } from '../../src/http/metrics.js';
import { BotStatsRepository } from '../../src/stats/bot-stats.repository.js';
import { botDetailsResource, botStatsResource } from '../../src/stats/bot-stats.cache.js';
import type { Tally } from './report.js';
import { serverConfig } from './settings.js';

/** Another caching than ours, behind the same interface. */
export interface Caching {
  resource<Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value>;
  invalidate(tags: readonly Tag[]): Promise<void>;
}

/** Our server, schema, resolvers, loaders and SQL, with another caching. Returns its URL. */
export async function serveWith(caching: Caching, tally: Tally): Promise<string> {
  const config = serverConfig();
  const log = createLogger(config.logLevel);
  const { db } = connectDatabase({ ...config.database, onStatement: tally.onStatement });
  const bots = new BotRepository(db);
  const stats = new BotStatsRepository(db);
  const principals = new PrincipalRepository(db);
  const ttl = config.cache.ttlSeconds;
  const resources = {
    principal: caching.resource(principalResource(principals)),
    organization: caching.resource(organizationResource(new OrganizationRepository(db))),
    bot: caching.resource(botResource(bots, ttl)),
    botPage: caching.resource(botPageResource(bots, ttl)),
    organizationBots: caching.resource(organizationBotsResource(bots, ttl)),
    botStats: caching.resource(botStatsResource(stats, ttl)),
    botDetails: caching.resource(botDetailsResource(stats, ttl)),
    messagePage: caching.resource(messagePageResource(new MessagePageRepository(db), ttl)),
  };
  const invalidator: Pick<Invalidator, 'invalidate'> = caching;
  const invalidation = new InvalidationService(invalidator as Invalidator, resources.botStats, {
    touching: async (tags) => tags,
  });
  const refused = new RefusedWrites(bots, principals, invalidation);
  const schema = await buildGraphQLSchema([
    new BotResolver(new BotService(bots, refused, invalidation)),
    new MessageResolver(new MessageService(new MessageRepository(db), stats, refused, invalidation)),
  ]);
  const graphql = createGraphQLServer({ schema, introspection: false, log });
  await graphql.apollo.start();
  const http = await createHttpServer({
    config: config.http,
    log,
    graphql,
    resources,
    responseCache: undefined,
    authenticate: createAuthenticator(config.auth),
    metrics: createMetrics(),
    playground: undefined,
    drain: new Drain(),
    readiness: async () => ({
      ready: true,
      database: 'up',
      migrated: true,
      cache: 'up',
      invalidationLogAgeMs: null,
    }),
  });
  return `${await http.listen({ port: config.http.port, host: config.http.host })}/graphql`;
}
