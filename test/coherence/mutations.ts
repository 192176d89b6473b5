import type { GraphQLAnswer } from '../support/client.js';
import type { Fleet, Server } from './fleet.js';
import { BotRecord, type History, type Term } from './history.js';
import { itemOf } from './readings.js';
import type { Instant } from './register.js';

/** A message that can still be marked as failed. */
export interface PendingMessage {
  readonly id: string;
  readonly botId: string;
}

interface BotFields {
  readonly id: string;
  readonly version: number;
  readonly description: string;
}
interface StatsFields {
  readonly totalMessages: number;
  readonly failedMessages: number;
}

const UPDATE =
  'mutation($id: ID!, $input: UpdateBotInput!) { bot: updateBot(id: $id, input: $input) { id version description } }';
const START = 'mutation($id: ID!) { bot: startBot(id: $id) { id version description } }';
const STOP = 'mutation($id: ID!) { bot: stopBot(id: $id) { id version description } }';
const CREATE = 'mutation($input: CreateBotInput!) { bot: createBot(input: $input) { id version } }';
const DELETE = 'mutation($id: ID!) { id: deleteBot(id: $id) }';
const RECORD = `mutation($botId: ID!, $messages: [MessageInput!]!) {
  stats: recordMessages(botId: $botId, messages: $messages) { totalMessages failedMessages } }`;
const MARK = 'mutation($id: ID!) { message: updateMessageStatus(id: $id, status: FAILED) { id } }';

/**
 * Sends mutations and records them in the history. A mutation without an answer may have been made or not: reads may show
 * its write from its start on, and must show it only after it was answered or seen in the database.
 */
export class Mutations {
  private serial = 0;
  /** For each bot, the number of its messages that answered mutations have marked as failed. */
  private readonly marked = new Map<string, number>();

  constructor(
    private readonly fleet: Fleet,
    private readonly history: History,
  ) {}

  async update(server: Server, bot: BotRecord): Promise<boolean> {
    const serial = (this.serial += 1);
    const input = bot.pair ? { name: `${bot.term} ${serial}` } : { description: `change ${serial}` };
    return await this.change(server, bot, UPDATE, { id: bot.id, input });
  }

  async setRunning(server: Server, bot: BotRecord, running: boolean): Promise<boolean> {
    return await this.change(server, bot, running ? START : STOP, { id: bot.id });
  }

  async create(server: Server, orgId: string, term: Term): Promise<BotRecord | undefined> {
    const input = { orgId, name: `${term} ${(this.serial += 1)}` };
    const answer = await this.send<{ bot: BotFields }>(server, CREATE, { input });
    if (!answer?.data) return undefined;
    const record = this.history.learn(new BotRecord(answer.data.bot.id, orgId, term));
    this.history.isCreated(record, answer.at);
    return record;
  }

  async delete(server: Server, bot: BotRecord): Promise<boolean> {
    this.history.deletionBegins(bot, performance.now());
    const answer = await this.send<{ id: string }>(server, DELETE, { id: bot.id }, bot);
    if (answer?.data) this.history.isDeleted(bot, answer.at);
    return answer !== undefined;
  }

  async record(server: Server, bot: BotRecord, count: number): Promise<boolean> {
    bot.total.mayGrowBy(count);
    const messages = Array.from({ length: count }, (_, i) => ({
      conversationId: `conversation ${(this.serial + i) % 7}`,
      contactId: 'contact',
      direction: 'INBOUND',
      status: 'DELIVERED',
      text: 'Hello',
    }));
    this.serial += count;
    const answer = await this.send<{ stats: StatsFields }>(server, RECORD, { botId: bot.id, messages }, bot);
    if (answer?.data) this.learnStats(server, bot, answer.data.stats, answer);
    return answer !== undefined;
  }

  async mark(server: Server, message: PendingMessage): Promise<boolean> {
    const bot = this.history.bot(message.botId);
    if (!bot) return true;
    bot.failed.mayGrowBy(1);
    const answer = await this.send<{ message: { id: string } }>(server, MARK, { id: message.id }, bot);
    if (answer?.data) {
      const marked = (this.marked.get(bot.id) ?? 0) + 1;
      this.marked.set(bot.id, marked);
      bot.failed.isAnswered(marked, answer.at);
    }
    return answer !== undefined;
  }

  /** Resets the counts after all messages were deleted. */
  forgetMarks(): void {
    this.marked.clear();
  }

  private async change(server: Server, bot: BotRecord, text: string, variables: unknown): Promise<boolean> {
    bot.version.mayGrowBy(1);
    const answer = await this.send<{ bot: BotFields }>(server, text, variables, bot);
    if (answer?.data) {
      const { bot: fields } = answer.data;
      this.history.observe('mutation', itemOf(fields), bot.orgId, { ...answer, server: server.name });
      bot.version.isAnswered(fields.version, answer.at);
    }
    return answer !== undefined;
  }

  private learnStats(
    server: Server,
    bot: BotRecord,
    { totalMessages: total, failedMessages: failed }: StatsFields,
    answer: { from: Instant; to: Instant },
  ): void {
    const item = { id: bot.id, total, failed };
    this.history.observe('mutation', item, bot.orgId, { ...answer, server: server.name });
    bot.total.isAnswered(total, answer.to);
    bot.failed.isAnswered(failed, answer.to);
  }

  /** @param bot what the mutation is about: that it is not found is a fault, unless it is being deleted. */
  private async send<Data>(
    server: Server,
    text: string,
    variables: unknown,
    bot?: BotRecord,
  ): Promise<{ data: Data | undefined; from: Instant; to: Instant; at: Instant } | undefined> {
    const from = performance.now();
    const answer = (await this.fleet.ask(server, text, variables)) as GraphQLAnswer<Data> | undefined;
    if (!answer) return undefined;
    const to = performance.now();
    const error = answer.errors?.[0];
    if (!error) return { data: answer.data ?? undefined, from, to, at: to };
    if (error.extensions.code === 'NOT_FOUND' && bot) {
      this.history.observeAbsence('mutation', bot, { from, to, server: server.name });
      return { data: undefined, from, to, at: to };
    }
    this.fleet.failed(server, from, `${error.extensions.code} ${error.message}`);
    return undefined;
  }
}
