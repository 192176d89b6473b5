import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Resolver, Root } from 'type-graphql';

import { Bot } from '../bots/bot.type.js';
import type { MessageContext } from './message.context.js';
import { BotStats } from '../stats/bot-stats.type.js';
import { parseInput } from '../validation.js';
import { MessageConnection } from './message-connection.type.js';
import { MessageInput, messagePageRules, MessagesArgs } from './message.input.js';
import type { MessageService } from './message.service.js';
import { Message, MessageStatus } from './message.type.js';
import { RecordedMessages } from './recorded-messages.type.js';

@Resolver(() => Message)
export class MessageResolver {
  constructor(private readonly service: MessageService) {}

  @Mutation(() => BotStats, { description: 'Records 1 to 500 messages of a bot, all or none.' })
  async recordMessages(
    @Ctx() context: MessageContext,
    @Arg('botId', () => ID) botId: string,
    @Arg('messages', () => [MessageInput]) messages: MessageInput[],
  ): Promise<BotStats> {
    return await this.service.record(context, botId, messages);
  }

  @Mutation(() => RecordedMessages, {
    description: 'Records 1 to 500 messages of a bot, all or none, and answers with them.',
  })
  async addMessages(
    @Ctx() context: MessageContext,
    @Arg('botId', () => ID) botId: string,
    @Arg('messages', () => [MessageInput]) messages: MessageInput[],
  ): Promise<RecordedMessages> {
    return await this.service.add(context, botId, messages);
  }

  @Mutation(() => Message)
  async updateMessageStatus(
    @Ctx() context: MessageContext,
    @Arg('id', () => ID) id: string,
    @Arg('status', () => MessageStatus) status: MessageStatus,
  ): Promise<Message> {
    return await this.service.updateStatus(context, id, status);
  }
}

/** The messages of a bot. Callers who may see the bot may see its messages. */
@Resolver(() => Bot)
export class BotMessagesResolver {
  @FieldResolver(() => MessageConnection, { description: 'Newest first. `first` is 1 to 100.' })
  async messages(
    @Ctx() context: MessageContext,
    @Root() bot: Readonly<Bot>,
    @Args(() => MessagesArgs) args: MessagesArgs,
  ): Promise<MessageConnection> {
    const query = { botId: bot.id, ...parseInput(messagePageRules, args) };
    const page = await context.loaders.messagePage.load(query);
    return MessageConnection.of(page ?? { edges: [], hasNextPage: false, hasPreviousPage: false });
  }
}
