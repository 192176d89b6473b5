import { Field, Float, ID, Int, ObjectType } from 'type-graphql';

import { Bot } from '../bots/bot.type.js';
import { DateTime } from '../graphql/date-time.scalar.js';

@ObjectType({ simpleResolvers: true, description: "Totals of a bot's messages over its whole life." })
export class BotStats {
  @Field(() => ID)
  readonly botId!: string;

  @Field(() => Int)
  readonly totalMessages!: number;

  @Field(() => Int)
  readonly inboundMessages!: number;

  @Field(() => Int)
  readonly outboundMessages!: number;

  @Field(() => Int)
  readonly failedMessages!: number;

  @Field(() => Int)
  readonly totalConversations!: number;

  @Field(() => Float, { nullable: true, description: 'Null without data.' })
  readonly averageResponseTimeMs!: number | null;

  @Field(() => Float, {
    nullable: true,
    description: 'Delivered ÷ (delivered + failed) of the outbound messages, from 0 to 1; null without data.',
  })
  readonly successRate!: number | null;

  @Field(() => DateTime, { nullable: true })
  readonly lastMessageAt!: string | null;

  @Field(() => DateTime, { description: 'When these figures were read from the database.' })
  readonly computedAt!: string;
}

@ObjectType({ simpleResolvers: true, description: 'A bot with its statistics, read together.' })
export class BotDetails {
  @Field(() => Bot)
  readonly bot!: Bot;

  @Field(() => BotStats)
  readonly stats!: BotStats;
}

/** The figures of a bot without totals: somebody has removed them with triggers disabled. */
export const noMessages = (botId: string): BotStats => ({
  botId,
  totalMessages: 0,
  inboundMessages: 0,
  outboundMessages: 0,
  failedMessages: 0,
  totalConversations: 0,
  averageResponseTimeMs: null,
  successRate: null,
  lastMessageAt: null,
  computedAt: new Date().toISOString(),
});
