import { Field, ObjectType } from 'type-graphql';

import { Bot } from '../bots/bot.type.js';
import { BotStats } from '../stats/bot-stats.type.js';
import { Message } from './message.type.js';

@ObjectType({
  simpleResolvers: true,
  description: 'Messages that were recorded, and what they have changed.',
})
export class RecordedMessages {
  @Field(() => [Message], { description: 'In the order in which they were given.' })
  readonly messages!: readonly Message[];

  @Field(() => Bot)
  readonly bot!: Bot;

  @Field(() => BotStats, { description: 'These messages included.' })
  readonly stats!: BotStats;
}
