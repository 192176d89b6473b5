import { Arg, Ctx, Extensions, FieldResolver, ID, Query, Resolver, Root } from 'type-graphql';

import { Role } from '../auth/role.enum.js';
import { requireBot } from '../bots/bot.service.js';
import { Bot } from '../bots/bot.type.js';
import type { StatsContext } from './bot-stats.context.js';
import { parseId } from '../validation.js';
import { BotDetails, BotStats, noMessages, withErrorsBeyondInt } from './bot-stats.type.js';

/** A bot of a list may be deleted after the list was read. That must not fail the rest of the list. */
const withDeleted = (bot: Readonly<Bot>, stats: BotStats | null): BotStats => stats ?? noMessages(bot.id);

/** The statistics of bots, for plans. */
async function statsOfBots(
  bots: readonly Readonly<Bot>[],
  _args: unknown,
  context: StatsContext,
): Promise<readonly BotStats[]> {
  const found = await context.loaders.botStats.loadAll(bots.map(({ id }) => id));
  return bots.map((bot, i) => withDeleted(bot, found[i] ?? null));
}

@Resolver(() => BotStats)
export class BotStatsResolver {
  @Query(() => BotStats, { nullable: true })
  async botStats(@Ctx() context: StatsContext, @Arg('id', () => ID) id: string): Promise<BotStats | null> {
    context.authorization.requireToken();
    const botId = parseId('id', id);
    const [stats] = await Promise.all([
      context.loaders.botStats.load(botId),
      requireBot(context, botId, Role.VIEWER),
    ]);
    // The bot was deleted between the two reads.
    if (!stats) await context.authorization.require(Role.VIEWER, undefined, 'Bot');
    return stats && withErrorsBeyondInt(stats);
  }

  @Query(() => BotDetails, { nullable: true })
  async botDetails(
    @Ctx() context: StatsContext,
    @Arg('id', () => ID) id: string,
  ): Promise<BotDetails | null> {
    context.authorization.requireToken();
    const botId = parseId('id', id);
    const [details] = await Promise.all([
      context.loaders.botDetails.load(botId),
      context.authorization.principal(),
    ]);
    await context.authorization.require(Role.VIEWER, details?.bot.orgId, 'Bot');
    return details;
  }

  /** Not part of the value, because it would change the cached form. */
  @Extensions({ resolveMany: (stats: readonly BotStats[]) => stats.map(({ botId }) => botId) })
  @FieldResolver(() => ID, { description: "The bot's id, by which caches of clients know the statistics." })
  id(@Root() stats: Readonly<BotStats>): string {
    return stats.botId;
  }
}

@Resolver(() => BotDetails)
export class BotDetailsResolver {
  @FieldResolver(() => ID, { description: "The bot's id." })
  id(@Root() details: Readonly<BotDetails>): string {
    return details.bot.id;
  }
}

@Resolver(() => Bot)
export class BotStatsFieldResolver {
  @Extensions({ resolveMany: statsOfBots })
  @FieldResolver(() => BotStats)
  async stats(@Ctx() context: StatsContext, @Root() bot: Readonly<Bot>): Promise<BotStats> {
    return withDeleted(bot, await context.loaders.botStats.load(bot.id));
  }
}
