import { randomUUID } from 'node:crypto';
import { expect } from '@jest/globals';

import {
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotStatsDocument,
  BotsWithStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  OrganizationBotsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import type { Client } from '../support/client.js';
import type { TestDatabase } from '../support/services.js';

/** The state of a bot that every read must show. */
export interface State {
  readonly name: string;
  readonly version: number;
  readonly totalMessages: number;
  readonly failedMessages: number;
}

/** The state of a bot by kind of read: `bot`, details, statistics, list, search, list with statistics, organization. */
export async function views(client: Client, orgId: string, id: string): Promise<Record<string, unknown>> {
  const find = <Bot extends { id: string }>(bots: readonly Bot[] | undefined) =>
    bots?.find((bot) => bot.id === id);
  const [bot, details, stats, list, search, listWithStats, organization] = await Promise.all([
    client.send(BotDocument, { id }),
    client.send(BotDetailsDocument, { id }),
    client.send(BotStatsDocument, { id }),
    client.ask(BotsDocument, { orgId, limit: 100 }),
    client.ask(BotsDocument, { orgId, limit: 100, search: 'BOT' }),
    client.ask(BotsWithStatsDocument, { orgId, limit: 100 }),
    client.ask(OrganizationBotsDocument, { id: orgId }),
  ]);
  return {
    bot: bot.data?.bot,
    details: details.data?.botDetails?.bot,
    detailsStats: details.data?.botDetails?.stats,
    stats: stats.data?.botStats,
    list: find(list.bots.items),
    search: find(search.bots.items),
    listWithStats: find(listWithStats.bots.items),
    listedStats: find(listWithStats.bots.items)?.stats,
    organization: find(organization.organization?.bots),
  };
}

/** Expects every kind of read to show this state of a bot; null if the bot must be absent. */
export async function expectViews(
  client: Client,
  orgId: string,
  id: string,
  state: State | null,
): Promise<void> {
  const seen = await views(client, orgId, id);
  if (state === null) {
    expect(Object.values(seen).filter((view) => view != null)).toEqual([]);
    return;
  }
  const bot = expect.objectContaining({ name: state.name, version: state.version });
  const stats = expect.objectContaining({
    totalMessages: state.totalMessages,
    failedMessages: state.failedMessages,
  });
  expect(seen).toEqual({
    bot,
    details: bot,
    detailsStats: stats,
    stats,
    list: bot,
    search: bot,
    listWithStats: bot,
    listedStats: stats,
    organization: bot,
  });
}

/** Makes every mutation through the first server, and after each mutation every read through every server. */
export async function exerciseApi(
  clients: readonly [Client, ...Client[]],
  orgId: string,
  database: TestDatabase,
): Promise<void> {
  const [writer] = clients;
  const name = `bot ${randomUUID()}`;
  const { createBot } = await writer.ask(CreateBotDocument, { input: { orgId, name } });
  const { id } = createBot;
  let state: State = { name, version: 1, totalMessages: 0, failedMessages: 0 };
  const expectSeen = async (change: Partial<State>): Promise<void> => {
    state = { ...state, ...change };
    await Promise.all(clients.map(async (client) => await expectViews(client, orgId, id, state)));
  };
  await expectSeen({});
  await writer.ask(UpdateBotDocument, { id, input: { name: `${name}, renamed`, expectedVersion: 1 } });
  await expectSeen({ name: `${name}, renamed`, version: 2 });
  await writer.ask(StartBotDocument, { id });
  await expectSeen({ version: 3 });
  await writer.ask(StopBotDocument, { id });
  await expectSeen({ version: 4 });
  const message = {
    conversationId: 'conversation',
    contactId: 'someone',
    direction: 'OUTBOUND',
    status: 'PENDING',
    text: 'hello',
  } as const;
  await writer.ask(RecordMessagesDocument, { botId: id, messages: [message, message] });
  await expectSeen({ totalMessages: 2 });
  const [recorded] = await database.sql<
    [{ id: string }]
  >`select id from messages where bot_id = ${id} limit 1`;
  await writer.ask(UpdateMessageStatusDocument, { id: recorded.id, status: 'FAILED' });
  await expectSeen({ failedMessages: 1 });
  await writer.ask(DeleteBotDocument, { id });
  await Promise.all(clients.map(async (client) => await expectViews(client, orgId, id, null)));
}
