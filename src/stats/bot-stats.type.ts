import { Field, Float, ID, Int, ObjectType } from 'type-graphql';

import { Bot } from '../bots/bot.type.js';
import { MAX_INT, toCount } from '../db/count.js';
import { outOfRange } from '../errors.js';
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

const COUNTS = [
  'totalMessages',
  'inboundMessages',
  'outboundMessages',
  'failedMessages',
  'totalConversations',
] as const;
type Counts = Readonly<Record<(typeof COUNTS)[number], number>>;

/** What statistics hold beside their fields, if a count is larger than Int. It is no field, lest all cached forms change. */
interface BeyondInt {
  readonly beyondInt?: Partial<Counts>;
}

/** Counts as fields of statistics: the nearest that Int can say, and beside them those that it cannot. */
export function countsOf(counts: Counts): Counts & BeyondInt {
  const entries = COUNTS.map((name) => [name, counts[name]] as const);
  const beyond = entries.filter(([, count]) => count > MAX_INT);
  return {
    ...(Object.fromEntries(entries.map(([name, count]) => [name, toCount(count)])) as Counts),
    ...(beyond.length > 0 ? { beyondInt: Object.fromEntries(beyond) as Partial<Counts> } : {}),
  };
}

/**
 * The statistics, with an error in the place of each count that Int cannot hold. Only for a field that may be null: in a
 * bot, its details or a page the error would cost the answer all of them, so there the nearest number stands.
 */
export function withErrorsBeyondInt(stats: BotStats & BeyondInt): BotStats {
  if (!stats.beyondInt) return stats;
  const errors = Object.entries(stats.beyondInt).map(([name, count]) => [
    name,
    outOfRange(name, count, MAX_INT),
  ]);
  return { ...stats, ...(Object.fromEntries(errors) as Partial<BotStats>) };
}
