import { Arg, Ctx, Extensions, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';

import { Role } from '../auth/role.enum.js';
import { MAX_BOTS_UNPAGED } from '../bots/bot.cache.js';
import { Bot } from '../bots/bot.type.js';
import type { OrganizationContext } from './organization.context.js';
import { badInput, notFound } from '../errors.js';
import { parseId } from '../validation.js';
import { OrganizationStats } from './organization-stats.type.js';
import { Organization } from './organization.type.js';

@Resolver(() => Organization)
export class OrganizationResolver {
  @Query(() => Organization, { nullable: true })
  async organization(
    @Ctx() context: OrganizationContext,
    @Arg('id', () => ID) id: string,
  ): Promise<Organization | null> {
    context.authorization.requireToken();
    const orgId = parseId('id', id);
    const [organization] = await Promise.all([
      context.loaders.organization.load(orgId),
      context.authorization.require(Role.VIEWER, orgId, 'Organization'),
    ]);
    return required(organization);
  }

  @FieldResolver(() => [Bot], { description: 'All bots, newest first. Large organizations: use Query.bots.' })
  async bots(
    @Ctx() context: OrganizationContext,
    @Root() organization: Readonly<Organization>,
  ): Promise<readonly Bot[]> {
    const bots = (await context.loaders.organizationBots.load(organization.id)) ?? [];
    if (bots.length > MAX_BOTS_UNPAGED) {
      throw badInput('bots', `cannot list more than ${MAX_BOTS_UNPAGED} bots at once; read them by page`);
    }
    return bots;
  }

  @FieldResolver(() => OrganizationStats)
  async stats(@Ctx() context: OrganizationContext, @Root() { id }: Organization): Promise<OrganizationStats> {
    const stats = await context.loaders.organizationStats.load(id);
    if (!stats) throw notFound('Organization');
    return stats;
  }
}

/** The organizations of bots, for plans. */
async function organizationsOf(
  bots: readonly Readonly<Bot>[],
  _args: unknown,
  context: OrganizationContext,
): Promise<readonly Organization[]> {
  const found = await context.loaders.organization.loadAll(bots.map(({ orgId }) => orgId));
  return found.map(required);
}

function required(organization: Organization | null): Organization {
  if (!organization) throw notFound('Organization');
  return organization;
}

/** The organization of a bot. Callers who may see the bot may see its organization. */
@Resolver(() => Bot)
export class BotOrganizationResolver {
  @Extensions({ resolveMany: organizationsOf })
  @FieldResolver(() => Organization)
  async organization(@Ctx() context: OrganizationContext, @Root() bot: Readonly<Bot>): Promise<Organization> {
    return required(await context.loaders.organization.load(bot.orgId));
  }
}
