import { Arg, Args, Ctx, Extensions, ID, Mutation, Query, Resolver } from 'type-graphql';

import { Role } from '../auth/role.enum.js';
import type { BotContext } from './bot.context.js';
import { isUuid } from '../uuid.js';
import { parseId, parseInput } from '../validation.js';
import { BotsArgs, botsRules, CreateBotInput, UpdateBotInput } from './bot.input.js';
import { BotPage, type BotPageContent } from './bot-page.type.js';
import { requireBot, type BotService } from './bot.service.js';
import { Bot, BotStatus } from './bot.type.js';

/** A search takes PostgreSQL as long as many fields do. */
const SEARCH_COST = 900;

/** The page as it was when this process last read it, for plans. Searches are seldom read again. */
const expectedPage = (args: BotsArgs, { loaders }: BotContext): BotPageContent | undefined =>
  args.search || !isUuid(args.orgId)
    ? undefined
    : loaders.botPage.lastSeen({
        orgId: args.orgId.toLowerCase(),
        page: args.page ?? 1,
        limit: args.limit ?? 20,
        search: '',
      });

@Resolver(() => Bot)
export class BotResolver {
  constructor(private readonly service: BotService) {}

  @Extensions({ expect: expectedPage, argumentCosts: { search: SEARCH_COST } })
  @Query(() => BotPage, { description: "A page of an organization's bots, newest first." })
  async bots(@Ctx() context: BotContext, @Args(() => BotsArgs) args: BotsArgs): Promise<BotPage> {
    context.authorization.requireToken();
    const orgId = parseId('orgId', args.orgId);
    const { page, limit, search } = parseInput(botsRules, args);
    const canMatch = search.isWellFormed() && !search.includes('\0');
    const [content] = await Promise.all([
      canMatch ? context.loaders.botPage.load({ orgId, page, limit, search }) : null,
      context.authorization.require(Role.VIEWER, orgId, 'Organization'),
    ]);
    return BotPage.of(content ?? { items: [], total: 0 }, page, limit);
  }

  @Query(() => Bot, { nullable: true })
  async bot(@Ctx() context: BotContext, @Arg('id', () => ID) id: string): Promise<Bot> {
    return await requireBot(context, id, Role.VIEWER);
  }

  @Mutation(() => Bot)
  async createBot(
    @Ctx() context: BotContext,
    @Arg('input', () => CreateBotInput) input: CreateBotInput,
  ): Promise<Bot> {
    return await this.service.create(context, input);
  }

  @Mutation(() => Bot, { description: 'Fails with CONFLICT if expectedVersion is given and not current.' })
  async updateBot(
    @Ctx() context: BotContext,
    @Arg('id', () => ID) id: string,
    @Arg('input', () => UpdateBotInput) input: UpdateBotInput,
  ): Promise<Bot> {
    return await this.service.update(context, id, input);
  }

  @Mutation(() => Bot, { description: 'A bot that is running already is returned as it is.' })
  async startBot(@Ctx() context: BotContext, @Arg('id', () => ID) id: string): Promise<Bot> {
    return await this.service.setStatus(context, id, BotStatus.RUNNING);
  }

  @Mutation(() => Bot, { description: 'A bot that is stopped already is returned as it is.' })
  async stopBot(@Ctx() context: BotContext, @Arg('id', () => ID) id: string): Promise<Bot> {
    return await this.service.setStatus(context, id, BotStatus.STOPPED);
  }

  @Mutation(() => ID, { description: 'Deletes a bot with its messages and totals.' })
  async deleteBot(@Ctx() context: BotContext, @Arg('id', () => ID) id: string): Promise<string> {
    return await this.service.delete(context, id);
  }
}
