import { readFileSync } from 'node:fs';
import path from 'node:path';

import { PrincipalRepository } from '../../src/auth/principal.repository.js';
import { markWrite } from '../../src/mutations/idempotency-key.js';
import { Role } from '../../src/auth/role.enum.js';
import { BotPage } from '../../src/bots/bot-page.type.js';
import { botsRules, updateBotRules, type BotsArgs, type UpdateBotInput } from '../../src/bots/bot.input.js';
import { BotPageRepository } from '../../src/bots/bot-page.repository.js';
import { BotRepository } from '../../src/bots/bot.repository.js';
import type { Bot } from '../../src/bots/bot.type.js';
import { connectDatabase } from '../../src/db/client.js';
import { notFound } from '../../src/errors.js';
import { messagesRules, type MessageInput } from '../../src/messages/message.input.js';
import { MessageRepository } from '../../src/messages/message.repository.js';
import { BotStatsRepository } from '../../src/stats/bot-stats.repository.js';
import type { BotDetails, BotStats } from '../../src/stats/bot-stats.type.js';
import { parseId, parseInput } from '../../src/validation.js';
import { createCallerReader, type Caller } from './callers.js';
import { connected, connectOpponentRedis } from './redis.js';
import type { Tally } from './report.js';
import { redisUrl, serverConfig } from './settings.js';

const markOf = (mutation: string) => markWrite({ requestId: 'bench', idempotencyKey: undefined }, mutation);

/** The schema of the contract, as our resolvers declare it. */
export const SDL = readFileSync(path.join(process.cwd(), 'schema/schema.graphql'), 'utf8');

/**
 * The base of the opponents B, C and D: our rules and our SQL, without our cache.
 * @param options.cachesCallers whether users with their memberships are cached in Redis; true by default
 */
export async function createOpponent(tally: Tally, options: { cachesCallers?: boolean } = {}) {
  const config = serverConfig();
  const { db } = connectDatabase({ ...config.database, onStatement: tally.onStatement });
  const redis = connectOpponentRedis(redisUrl());
  await connected(redis);
  return {
    config,
    redis,
    readCaller: createCallerReader(
      config.auth,
      new PrincipalRepository(db),
      options.cachesCallers === false ? undefined : redis,
    ),
    operations: new Operations(
      new BotRepository(db),
      new BotPageRepository(db),
      new BotStatsRepository(db),
      new MessageRepository(db),
    ),
  };
}

/** The operations that are measured. */
export class Operations {
  constructor(
    private readonly bots: BotRepository,
    private readonly pages: BotPageRepository,
    private readonly stats: BotStatsRepository,
    private readonly messages: MessageRepository,
  ) {}

  async page(caller: Caller, args: BotsArgs): Promise<BotPage> {
    const orgId = parseId('orgId', args.orgId);
    const { page, limit, search } = parseInput(botsRules, args);
    caller.require(Role.VIEWER, orgId, 'Organization');
    const [found] = await this.pages.findPages([{ orgId, page, limit, search }], '');
    return BotPage.of(found?.value ?? { items: [], total: 0 }, page, limit);
  }

  async bot(caller: Caller, id: string): Promise<Bot> {
    const [bot] = await this.bots.findMany([parseId('id', id)]);
    caller.require(Role.VIEWER, bot?.value?.orgId, 'Bot');
    return bot?.value as Bot;
  }

  async details(caller: Caller, id: string): Promise<BotDetails> {
    const [details] = await this.stats.findDetails([parseId('id', id)], '');
    caller.require(Role.VIEWER, details?.value?.bot.orgId, 'Bot');
    return details?.value as BotDetails;
  }

  /** Statistics of a bot by its id, with its organization's id. */
  async statsOf(caller: Caller, id: string): Promise<BotStats> {
    return (await this.details(caller, id)).stats;
  }

  /** Statistics of bots that the caller has been shown, in one statement. */
  async statsOfBots(ids: readonly string[]): Promise<BotStats[]> {
    return (await this.stats.findMany(ids, '')).map(({ value }) => {
      if (!value) throw notFound('Bot');
      return value;
    });
  }

  async update(caller: Caller, id: string, input: UpdateBotInput): Promise<Bot> {
    const botId = parseId('id', id);
    const changes = parseInput(updateBotRules, input);
    const bot = (await this.bots.update({ id: botId, ...caller.writer }, changes, '', markOf('updateBot')))
      ?.bot;
    if (!bot) throw notFound('Bot');
    return bot;
  }

  async record(caller: Caller, id: string, input: readonly MessageInput[]): Promise<BotStats> {
    const botId = parseId('botId', id);
    const messages = parseInput(messagesRules, input, 'messages');
    const mark = markOf('recordMessages');
    if (!(await this.messages.insert({ id: botId, ...caller.writer }, messages, mark))) throw notFound('Bot');
    return (await this.statsOfBots([botId]))[0] as BotStats;
  }
}
