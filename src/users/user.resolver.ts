import { Ctx, FieldResolver, Query, Resolver, Root } from 'type-graphql';

import type { UserContext } from './user.context.js';
import { notFound } from '../errors.js';
import { Organization } from '../organizations/organization.type.js';
import { Membership, User } from './user.type.js';

@Resolver(() => User)
export class UserResolver {
  @Query(() => User, { description: 'The user that the token names.' })
  async me(@Ctx() context: UserContext): Promise<User> {
    return await context.authorization.principal();
  }
}

@Resolver(() => Membership)
export class MembershipResolver {
  @FieldResolver(() => Organization)
  async organization(
    @Ctx() context: UserContext,
    @Root() membership: Readonly<Membership>,
  ): Promise<Organization> {
    const organization = await context.loaders.organization.load(membership.orgId);
    if (!organization) throw notFound('Organization');
    return organization;
  }
}
