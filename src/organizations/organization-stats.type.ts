import { Field, ID, Int, ObjectType } from 'type-graphql';

import { DateTime } from '../graphql/date-time.scalar.js';

@ObjectType({
  simpleResolvers: true,
  description:
    "Totals of an organization's bots and of all their messages. A count stops at the largest Int.",
})
export class OrganizationStats {
  @Field(() => ID, { description: "The organization's id, by which caches of clients know the statistics." })
  readonly id!: string;

  @Field(() => Int)
  readonly bots!: number;

  @Field(() => Int)
  readonly runningBots!: number;

  @Field(() => Int)
  readonly totalMessages!: number;

  @Field(() => Int)
  readonly failedMessages!: number;

  @Field(() => DateTime, { nullable: true })
  readonly lastMessageAt!: string | null;

  @Field(() => DateTime, { description: 'When these figures were read from the database.' })
  readonly computedAt!: string;
}
