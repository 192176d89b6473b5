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

/** The statistics of a bot without totals: somebody removed them with triggers disabled. */
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

/**
 * The counts of statistics that are larger than Int. They are not a field, because that would change all cached
 * forms.
 */
interface BeyondInt {
  readonly beyondInt?: Partial<Counts>;
}

/** Turns counts into fields of statistics: the nearest Int, and separately the counts that Int cannot hold. */
export function countsOf(counts: Counts): Counts & BeyondInt {
  const entries = COUNTS.map((name) => [name, counts[name]] as const);
  const beyond = entries.filter(([, count]) => count > MAX_INT);
  return {
    ...(Object.fromEntries(entries.map(([name, count]) => [name, toCount(count)])) as Counts),
    ...(beyond.length > 0 ? { beyondInt: Object.fromEntries(beyond) as Partial<Counts> } : {}),
  };
}

/**
 * Returns the statistics, with an error in the place of each count that Int cannot hold. Use it only for a nullable
 * field: in a bot, its details or a page, the error would remove all of them from the answer, so those show the
 * nearest number.
 */
export function withErrorsBeyondInt(stats: BotStats & BeyondInt): BotStats {
  if (!stats.beyondInt) return stats;
  const errors = Object.entries(stats.beyondInt).map(([name, count]) => [
    name,
    outOfRange(name, count, MAX_INT),
  ]);
  return { ...stats, ...(Object.fromEntries(errors) as Partial<BotStats>) };
}
