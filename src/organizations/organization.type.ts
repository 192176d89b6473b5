import { Field, ID, ObjectType } from 'type-graphql';

/** An organization. A resolver adds its bots to the GraphQL type. */
@ObjectType({ simpleResolvers: true, description: 'A customer that owns bots.' })
export class Organization {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => String)
  readonly name!: string;

  @Field(() => String)
  readonly slug!: string;
}
