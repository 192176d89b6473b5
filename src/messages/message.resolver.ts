import { Arg, Ctx, ID, Mutation, Resolver } from 'type-graphql';

import type { RequestContext } from '../context.js';
import { BotStats } from '../stats/bot-stats.type.js';
import { MessageInput } from './message.input.js';
import type { MessageService } from './message.service.js';
import { Message, MessageStatus } from './message.type.js';

@Resolver(() => Message)
export class MessageResolver {
  constructor(private readonly service: MessageService) {}

  @Mutation(() => BotStats, { description: 'Records 1 to 500 messages of a bot, all or none.' })
  async recordMessages(
    @Ctx() context: RequestContext,
    @Arg('botId', () => ID) botId: string,
    @Arg('messages', () => [MessageInput]) messages: MessageInput[],
  ): Promise<BotStats> {
    return await this.service.record(context, botId, messages);
  }

  @Mutation(() => Message)
  async updateMessageStatus(
    @Ctx() context: RequestContext,
    @Arg('id', () => ID) id: string,
    @Arg('status', () => MessageStatus) status: MessageStatus,
  ): Promise<Message> {
    return await this.service.updateStatus(context, id, status);
  }
}
