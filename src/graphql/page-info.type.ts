import { Field, ObjectType } from 'type-graphql';

/** Where a page of a connection is among the others. */
@ObjectType({ simpleResolvers: true, description: 'Where a page of a connection is among the others.' })
export class PageInfo {
  @Field(() => Boolean)
  readonly hasNextPage!: boolean;

  @Field(() => Boolean)
  readonly hasPreviousPage!: boolean;

  @Field(() => String, { nullable: true, description: 'Null for an empty page.' })
  readonly startCursor!: string | null;

  @Field(() => String, { nullable: true, description: 'Null for an empty page.' })
  readonly endCursor!: string | null;
}
