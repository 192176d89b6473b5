import { Field, ID, Int, ObjectType, registerEnumType } from 'type-graphql';

import { DateTime } from '../graphql/date-time.scalar.js';

export enum BotStatus {
  STOPPED = 'STOPPED',
  RUNNING = 'RUNNING',
}

registerEnumType(BotStatus, { name: 'BotStatus', description: 'Whether a bot answers messages.' });

/**
 * A bot, as clients see it and as it is cached: instants are ISO 8601 strings. Other resolvers add its statistics and
 * organization to the GraphQL type.
 */
@ObjectType({ simpleResolvers: true, description: 'A chat bot of an organization.' })
export class Bot {
  @Field(() => ID)
  readonly id!: string;

  @Field(() => ID)
  readonly orgId!: string;

  @Field(() => String)
  readonly name!: string;

  @Field(() => String)
  readonly description!: string;

  @Field(() => BotStatus)
  readonly status!: BotStatus;

  @Field(() => Int, { description: 'Grows by one with every change.' })
  readonly version!: number;

  @Field(() => DateTime)
  readonly createdAt!: string;

  @Field(() => DateTime)
  readonly updatedAt!: string;

  @Field(() => DateTime, { nullable: true, description: 'Null while the bot is stopped.' })
  readonly startedAt!: string | null;
}
