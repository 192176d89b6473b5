import { setTimeout as sleep } from 'node:timers/promises';

import { Role } from '../auth/role.enum.js';
import type { WritableBot } from '../bots/bot.repository.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { within } from '../cache/core/work.js';
import { editableBot, justChanged } from '../bots/bot.service.js';
import type { RefusedWrites } from '../bots/refused-writes.js';
import type { MessageContext } from './message.context.js';
import { isForeignKeyViolation } from '../db/failures.js';
import { notFound, unavailable, type ApiError } from '../errors.js';
import type { BotKey, InvalidationService } from '../invalidation/invalidation.service.js';
import { botStatsTag, orgStatsTag } from '../invalidation/tags.js';
import { markWrite, type WriteMark } from '../mutations/idempotency-key.js';
import type { Writes } from '../mutations/writes.js';
import type { BotStatsRepository } from '../stats/bot-stats.repository.js';
import type { BotStats } from '../stats/bot-stats.type.js';
import { withTimeLimit } from '../time-limit.js';
import { parseId, parseInput } from '../validation.js';
import { messagesRules, type MessageInput } from './message.input.js';
import type { MessageRepository } from './message.repository.js';
import type { Message, MessageStatus } from './message.type.js';
import type { RecordedMessages } from './recorded-messages.type.js';

/** The time limit for reading the statistics of recorded messages (ms). */
const MAX_READ_MS = 3_000;
const FIRST_PAUSE_MS = 25;
/** The time limit for finding the bot of a message after a failed write (ms). */
const MAX_SEARCH_MS = 1_000;

/** The error tells the client whether sending the messages again would record them twice. */
const nowUnavailable = ({ key }: WriteMark, what: string, cause: unknown): ApiError =>
  Object.assign(
    unavailable(`The messages were recorded, but ${what} cannot be read now`, {
      recorded: true,
      retryable: key !== null,
    }),
    { cause },
  );

/**
 * Writes messages. Every write invalidates after its transaction has committed and before the caller gets the result.
 */
export class MessageService {
  constructor(
    private readonly messages: MessageRepository,
    private readonly stats: BotStatsRepository,
    private readonly refused: RefusedWrites,
    private readonly writes: Writes,
    private readonly invalidation: InvalidationService<BotStats>,
  ) {}

  /**
   * Records 1 to 500 messages, all or none. Returns the bot's statistics, including these messages.
   * @throws ApiError UNAVAILABLE, with `recorded: true`, if only the statistics cannot be read
   */
  async record(context: MessageContext, botId: string, inputs: readonly MessageInput[]): Promise<BotStats> {
    const { stats } = await this.recordAll(context, botId, inputs, 'recordMessages');
    return stats;
  }

  /**
   * As {@link record}. Returns the messages as well, in their order, and the bot.
   * @throws ApiError UNAVAILABLE, with `recorded: true`, if only the bot or its statistics cannot be read
   */
  async add(
    context: MessageContext,
    botId: string,
    inputs: readonly MessageInput[],
  ): Promise<RecordedMessages> {
    const { id, messages, stats, mark } = await this.recordAll(context, botId, inputs, 'addMessages');
    const bot = await context.loaders.bot.load(id).catch((cause: unknown) => {
      throw nowUnavailable(mark, 'the bot', cause);
    });
    return { messages, stats, bot: bot ?? (await this.refused.ofBot(context, id, Role.EDITOR)) };
  }

  private async recordAll(
    context: MessageContext,
    botId: string,
    inputs: readonly MessageInput[],
    mutation: 'recordMessages' | 'addMessages',
  ) {
    context.authorization.requireToken();
    const mark = markWrite(context, mutation);
    const bot = editableBot(context, botId, Role.EDITOR, 'botId');
    const { id } = bot;
    const given = parseInput(messagesRules, inputs, 'messages');
    const inserted = await this.writes.run(context, {
      mark,
      needed: Role.EDITOR,
      what: 'Bot',
      execute: async () => await this.insert(bot, given, mark),
      findKept: async () => await this.messages.findKeptInsertion(bot, given, mark),
      tags: async () => {
        const search = withTimeLimit(context.loaders.bot.load(id), MAX_SEARCH_MS);
        const found = await search.catch(() => null);
        return [botStatsTag.of(id), ...(found ? [orgStatsTag.of(found.orgId)] : [])];
      },
    });
    if (!inserted) {
      throw justChanged(await this.refused.ofBot(context, id, Role.EDITOR));
    }
    const { orgId, messages } = inserted;
    const stats = await this.statsAfterWrite(context, { id, orgId }, mark);
    context.clearLoaders();
    if (stats) return { id, messages, stats, mark };
    // The bot was deleted since, and the messages with it.
    await this.refused.ofBot(context, id, Role.EDITOR);
    throw nowUnavailable(mark, 'their statistics', new Error('The bot has no statistics'));
  }

  async updateStatus(context: MessageContext, id: string, status: MessageStatus): Promise<Message> {
    context.authorization.requireToken();
    const mark = markWrite(context, 'updateMessageStatus');
    const messageId = parseId('id', id);
    const writer = context.authorization.writer(Role.EDITOR);
    const changed = await this.writes.run(context, {
      mark,
      needed: Role.EDITOR,
      what: 'Message',
      execute: async () => await this.messages.updateStatus({ id: messageId, ...writer }, status, mark),
      findKept: async () => await this.messages.findKeptStatus(writer.userId, mark),
      tags: async () => {
        // If the bot cannot be found either, the invalidation log covers the write.
        const search = withTimeLimit(this.messages.findBot(messageId), MAX_SEARCH_MS);
        const bot = await search.catch(() => undefined);
        return bot ? [botStatsTag.of(bot.id), orgStatsTag.of(bot.orgId)] : [];
      },
    });
    if (!changed) {
      const bot = within(context.work, () => this.messages.findBot(messageId));
      await this.refused.ofMessage(context, bot, Role.EDITOR);
      throw notFound('Message');
    }
    const { orgId, message } = changed;
    // The answer does not need the statistics. If they cannot be read, they are invalidated, and the change succeeds.
    const read = async (since: SnapshotText) => await this.stats.findMany([message.botId], since);
    const bot = { id: message.botId, orgId };
    await within(context.work, () => this.invalidation.botStatsChanged(bot, read)).catch(() => undefined);
    context.clearLoaders();
    return message;
  }

  /**
   * Reads the statistics, and tries again after temporary failures: the messages are recorded, and a client that got
   * an error would send them again.
   */
  private async statsAfterWrite(
    context: MessageContext,
    bot: BotKey,
    mark: WriteMark,
  ): Promise<BotStats | null | undefined> {
    const endsAt = performance.now() + MAX_READ_MS;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs *= 2) {
      try {
        const read = async (since: SnapshotText) =>
          await withTimeLimit(this.stats.findMany([bot.id], since), endsAt - performance.now());
        const newer = await within(context.work, () => this.invalidation.botStatsChanged(bot, read));
        return newer?.value;
      } catch (cause) {
        if (performance.now() + pauseMs > endsAt) throw nowUnavailable(mark, 'their statistics', cause);
        await sleep(pauseMs);
      }
    }
  }

  private async insert(
    bot: WritableBot,
    messages: readonly MessageInput[],
    mark: WriteMark,
  ): ReturnType<MessageRepository['insert']> {
    try {
      return await this.messages.insert(bot, messages, mark);
    } catch (error) {
      // The bot was deleted meanwhile.
      if (isForeignKeyViolation(error)) return undefined;
      throw error;
    }
  }
}
