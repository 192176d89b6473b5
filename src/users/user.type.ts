import { Extensions, Field, ID, ObjectType } from 'type-graphql';

import { Role } from '../auth/role.enum.js';

/** A user's membership in an organization. The resolver adds the organization itself. */
@ObjectType({ simpleResolvers: true })
export class Membership {
  readonly orgId!: string;

  @Field(() => Role)
  readonly role!: Role;
}

/** The caller. */
@ObjectType({ simpleResolvers: true })
export class User {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => String)
  readonly email!: string;

  @Field(() => String)
  readonly name!: string;

  @Field(() => [Membership])
  @Extensions({ listSize: 10 })
  readonly memberships!: readonly Membership[];
}
