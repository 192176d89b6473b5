import { Field, ID, ObjectType } from 'type-graphql';

/** An organization; its bots are added to the GraphQL type by the resolver. */
@ObjectType({ simpleResolvers: true, description: 'A customer that owns bots.' })
export class Organization {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => String)
  readonly name!: string;

  @Field(() => String)
  readonly slug!: string;
}
