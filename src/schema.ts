import type { GraphQLSchema } from 'graphql';
import { buildSchema } from 'type-graphql';

import { AuditLogResolver } from './audit/audit-log.resolver.js';
import { BotResolver } from './bots/bot.resolver.js';
import { BotMessagesResolver, MessageResolver } from './messages/message.resolver.js';
import { BotOrganizationResolver, OrganizationResolver } from './organizations/organization.resolver.js';
import { BotDetailsResolver, BotStatsFieldResolver, BotStatsResolver } from './stats/bot-stats.resolver.js';
import { MembershipResolver, UserResolver } from './users/user.resolver.js';
import { chargeLists } from './graphql/answer-budget.js';
import { passFieldPaths } from './graphql/field-paths.js';
import { DateTime } from './graphql/date-time.scalar.js';

/**
 * Builds the schema from the resolvers.
 * @param instances the resolvers that have dependencies, made by the composition root; none to emit only the SDL.
 */
export async function buildGraphQLSchema(instances: readonly object[]): Promise<GraphQLSchema> {
  const byClass = new Map(instances.map((instance) => [instance.constructor, instance]));
  const schema = await buildSchema({
    resolvers: [
      UserResolver,
      MembershipResolver,
      OrganizationResolver,
      BotOrganizationResolver,
      BotResolver,
      BotStatsResolver,
      BotStatsFieldResolver,
      BotDetailsResolver,
      MessageResolver,
      BotMessagesResolver,
      AuditLogResolver,
    ],
    container: {
      get: (resolver: new () => object) => {
        let instance = byClass.get(resolver);
        if (!instance) byClass.set(resolver, (instance = new resolver()));
        return instance;
      },
    },
    scalarsMap: [{ type: Date, scalar: DateTime }],
    // The input rules check inputs, because their errors can name the field and the rule.
    validate: false,
  });
  passFieldPaths(schema);
  chargeLists(schema);
  return schema;
}
