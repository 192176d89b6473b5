import { Role } from '../access/role.enum.js';
import type { WritableBot } from '../bots/bot.repository.js';
import { requireBot } from '../bots/bot.service.js';
import type { RequestContext } from '../context.js';
import { isForeignKeyViolation } from '../db/failures.js';
import { notFound } from '../errors.js';
import type { InvalidationService } from '../invalidation/invalidation.service.js';
import type { BotStatsRepository } from '../stats/bot-stats.repository.js';
import type { BotStats } from '../stats/bot-stats.type.js';
import { parseId, parseInput } from '../validation.js';
import { messagesRules, type MessageInput } from './message.input.js';
import type { MessageRepository } from './message.repository.js';
import type { Message, MessageStatus } from './message.type.js';

/** The writes of messages. Each invalidates after its transaction has committed and before it answers. */
export class MessageService {
  constructor(
    private readonly messages: MessageRepository,
    private readonly stats: BotStatsRepository,
    private readonly invalidation: InvalidationService<BotStats>,
  ) {}

  /** Records 1 to 500 messages, all or none. Returns the bot's statistics, these messages included. */
  async record(context: RequestContext, botId: string, inputs: readonly MessageInput[]): Promise<BotStats> {
    context.access.requireToken();
    const id = parseId('botId', botId);
    const messages = parseInput(messagesRules, inputs, 'messages');
    if (!(await this.insert({ id, ...context.access.writer(Role.EDITOR) }, messages))) {
      await requireBot(context, id, Role.EDITOR);
      throw notFound('Bot');
    }
    const stats = await this.invalidation.botStatsChanged(id, this.stats.findMany([id]));
    context.forgetLoaded();
    if (!stats?.value) throw notFound('Bot');
    return stats.value;
  }

  async updateStatus(context: RequestContext, id: string, status: MessageStatus): Promise<Message> {
    context.access.requireToken();
    const messageId = parseId('id', id);
    const writer = context.access.writer(Role.EDITOR);
    const message = await this.messages.updateStatus({ id: messageId, ...writer }, status);
    if (!message) {
      await context.access.require(Role.EDITOR, await this.messages.findOrganization(messageId), 'Message');
      throw notFound('Message');
    }
    await this.invalidation.botStatsChanged(message.botId, this.stats.findMany([message.botId]));
    context.forgetLoaded();
    return message;
  }

  private async insert(bot: WritableBot, messages: readonly MessageInput[]): Promise<boolean> {
    try {
      return await this.messages.insert(bot, messages);
    } catch (error) {
      if (isForeignKeyViolation(error)) throw notFound('Bot');
      throw error;
    }
  }
}
