import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

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
  type BotFieldsFragment,
  type MessageInput,
} from '../generated/graphql.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

const create = async (name = 'bot', description?: string): Promise<BotFieldsFragment> => {
  const input = { orgId: fixture.orgId, name, ...(description === undefined ? {} : { description }) };
  return (await fixture.editor.ask(CreateBotDocument, { input })).createBot;
};

const outbound: MessageInput = {
  conversationId: 'conversation',
  contactId: 'contact',
  direction: 'OUTBOUND',
  status: 'PENDING',
  text: 'Hello',
};

/** Reads a bot everywhere: before a mutation to cache it, and after it to check the answers. */
async function readEverywhere(id: string): Promise<Record<string, unknown>> {
  const { viewer, orgId } = fixture;
  const [bot, details, page, found, organization] = await Promise.all([
    viewer.ask(BotDocument, { id }),
    viewer.ask(BotDetailsDocument, { id }),
    viewer.ask(BotsDocument, { orgId, limit: 100 }),
    viewer.ask(BotsDocument, { orgId, limit: 100, search: 'bot' }),
    viewer.ask(OrganizationBotsDocument, { id: orgId }),
  ]);
  const withoutOrganization = { ...bot.bot, organization: undefined };
  return {
    bot: withoutOrganization,
    details: details.botDetails?.bot,
    page: page.bots.items.find((each) => each.id === id),
    found: found.bots.items.find((each) => each.id === id),
    organization: organization.organization?.bots.find((each) => each.id === id),
  };
}

const everywhere = (bot: BotFieldsFragment) => ({
  bot,
  details: bot,
  page: bot,
  found: bot,
  organization: bot,
});

/** The physical version of a row: every write changes it, even one that changes no column. */
const writtenBy = async (id: string): Promise<unknown> =>
  (await fixture.database.sql`select xmin::text, ctid::text from bots where id = ${id}`)[0];

/** The number of a bot's writes in the invalidation log; old entries may be pruned at any time. */
const loggedWrites = async (id: string): Promise<number> =>
  Number(
    (
      await fixture.database.sql`
        select count(*) from cache_invalidations where tags && ${[`bot:${id}`, `org:${fixture.orgId}`]}`
    )[0]?.count,
  );

/** Expects `work` not to write to a bot, not even the same values. */
async function expectNoWrite(id: string, work: () => Promise<void>): Promise<void> {
  const [row, writes] = [await writtenBy(id), await loggedWrites(id)];
  await work();
  expect(await writtenBy(id)).toEqual(row);
  expect(await loggedWrites(id)).toBeLessThanOrEqual(writes);
}

describe('createBot', () => {
  test('answers with a new, stopped bot of version 1, which is found everywhere at once', async () => {
    const first = await create();
    await readEverywhere(first.id);
    const bot = await create('bot two', 'described');
    expect(bot).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      orgId: fixture.orgId,
      name: 'bot two',
      description: 'described',
      status: 'STOPPED',
      version: 1,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      updatedAt: bot.createdAt,
      startedAt: null,
    });
    expect(await readEverywhere(bot.id)).toEqual(everywhere(bot));
    expect((await fixture.viewer.ask(BotStatsDocument, { id: bot.id })).botStats).toMatchObject({
      totalMessages: 0,
      totalConversations: 0,
      averageResponseTimeMs: null,
      successRate: null,
      lastMessageAt: null,
    });
  });

  test('a bot that was looked for before it existed is found once it does', async () => {
    const id = randomUUID();
    expect(await fixture.viewer.failure(BotDocument, { id })).toMatchObject({ code: 'NOT_FOUND' });
    await fixture.database
      .sql`insert into bots (id, org_id, name) values (${id}, ${fixture.orgId}, 'bot of SQL')`;
    const answer = await askUntil(
      async () => await fixture.viewer.send(BotDocument, { id }),
      ({ errors }) => errors === undefined,
    );
    expect(answer.data?.bot?.name).toBe('bot of SQL');
  });
});

describe('updateBot', () => {
  let bot: BotFieldsFragment;

  beforeEach(async () => {
    bot = await create('bot', 'as it was');
    await readEverywhere(bot.id);
  });

  const update = async (input: { name?: string; description?: string; expectedVersion?: number }) =>
    (await fixture.editor.ask(UpdateBotDocument, { id: bot.id, input })).updateBot;

  test.each([
    ['the name', { name: 'bot, renamed' }],
    ['the description', { description: 'another bot' }],
    ['both', { name: 'bot, renamed', description: '' }],
  ])(
    'changes %s and nothing else, raises the version by 1, and is seen everywhere at once',
    async (_, input) => {
      const updated = await update(input);
      expect(updated).toEqual({ ...bot, ...input, version: 2, updatedAt: updated.updatedAt });
      expect(Date.parse(updated.updatedAt)).toBeGreaterThan(Date.parse(bot.updatedAt));
      expect(await readEverywhere(bot.id)).toEqual(everywhere(updated));
    },
  );

  test('a bot whose name no longer matches leaves the search at once', async () => {
    await update({ name: 'nothing', description: '' });
    expect(await readEverywhere(bot.id)).toMatchObject({ found: undefined, page: { name: 'nothing' } });
  });

  test('raises the version by 1 with every change', async () => {
    for (let version = 2; version <= 5; version++) {
      expect(await update({ name: `bot ${version}` })).toMatchObject({ version });
    }
  });

  test.each([
    ['no field', {}],
    ['the expected version alone', { expectedVersion: 1 }],
  ])('with %s answers with the bot as it is, and writes nothing', async (_what, input) => {
    await expectNoWrite(bot.id, async () => {
      expect(await update(input)).toEqual(bot);
    });
  });

  test('does not change version and time if the bot has the values already', async () => {
    expect(await update({ name: bot.name, description: bot.description })).toEqual(bot);
    expect(await update({ name: bot.name, expectedVersion: 1 })).toEqual(bot);
  });

  test('is made if the version is the expected one', async () => {
    expect(await update({ name: 'bot two', expectedVersion: 1 })).toMatchObject({
      name: 'bot two',
      version: 2,
    });
    expect(await update({ name: 'bot three', expectedVersion: 2 })).toMatchObject({ version: 3 });
  });

  test.each([
    ['a change', { name: 'bot two' }],
    ['no change', {}],
    ['the values that it has already', { name: 'bot' }],
  ])(
    'with another version than the current one and %s is a CONFLICT, and changes nothing',
    async (_, input) => {
      for (const expectedVersion of [2, 2 ** 31 - 1]) {
        const before = await writtenBy(bot.id);
        const variables = { id: bot.id, input: { ...input, expectedVersion } };
        expect(await fixture.editor.failure(UpdateBotDocument, variables)).toMatchObject({
          code: 'CONFLICT',
          data: null,
        });
        expect(await writtenBy(bot.id)).toEqual(before);
      }
      expect(await readEverywhere(bot.id)).toEqual(everywhere(bot));
    },
  );

  test('makes one of several updates that expect the same version, and answers CONFLICT to the others', async () => {
    const names = Array.from({ length: 8 }, (_, n) => `bot ${n}`);
    const answers = await Promise.all(
      names.map(
        async (name) =>
          await fixture.editor.send(UpdateBotDocument, { id: bot.id, input: { name, expectedVersion: 1 } }),
      ),
    );
    const codes = answers.map(({ errors }) => errors?.[0]?.extensions.code ?? 'OK');
    expect(codes.sort()).toEqual([...Array.from({ length: 7 }, () => 'CONFLICT'), 'OK']);
    expect((await fixture.viewer.ask(BotDocument, { id: bot.id })).bot?.version).toBe(2);
  });

  test('makes all of several updates that expect no version, one after the other', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, async (_, n) => await update({ description: `text ${n}` })),
    );
    expect(new Set(answers.map(({ version }) => version))).toEqual(new Set([2, 3, 4, 5, 6, 7, 8, 9]));
    const last = answers.find(({ version }) => version === 9);
    expect((await fixture.viewer.ask(BotDocument, { id: bot.id })).bot?.description).toBe(last?.description);
  });

  test('answers NOT_FOUND if the bot has been deleted', async () => {
    await fixture.owner.ask(DeleteBotDocument, { id: bot.id });
    const variables = { id: bot.id, input: { name: 'x', expectedVersion: 1 } };
    expect(await fixture.editor.failure(UpdateBotDocument, variables)).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('startBot and stopBot', () => {
  let bot: BotFieldsFragment;
  const start = async () => (await fixture.editor.ask(StartBotDocument, { id: bot.id })).startBot;
  const stop = async () => (await fixture.editor.ask(StopBotDocument, { id: bot.id })).stopBot;

  beforeEach(async () => {
    bot = await create();
    await readEverywhere(bot.id);
  });

  test('change the status and the time of the start, raise the version, and are seen everywhere at once', async () => {
    const started = await start();
    expect(started).toEqual({
      ...bot,
      status: 'RUNNING',
      version: 2,
      updatedAt: started.updatedAt,
      startedAt: started.updatedAt,
    });
    expect(Date.parse(started.updatedAt)).toBeGreaterThan(Date.parse(bot.updatedAt));
    expect(await readEverywhere(bot.id)).toEqual(everywhere(started));

    const stopped = await stop();
    expect(stopped).toEqual({ ...bot, version: 3, updatedAt: stopped.updatedAt });
    expect(Date.parse(stopped.updatedAt)).toBeGreaterThan(Date.parse(started.updatedAt));
    expect(await readEverywhere(bot.id)).toEqual(everywhere(stopped));
  });

  test('write nothing if the bot has the status already', async () => {
    await expectNoWrite(bot.id, async () => {
      expect(await stop()).toEqual(bot);
    });
    const started = await start();
    await expectNoWrite(bot.id, async () => {
      expect(await start()).toEqual(started);
    });
  });

  test('set a new start time when a bot is started again', async () => {
    const { startedAt } = await start();
    await stop();
    const again = await start();
    expect(again.version).toBe(4);
    expect(Date.parse(again.startedAt ?? '')).toBeGreaterThan(Date.parse(startedAt ?? ''));
  });

  test('keep the start time when a running bot is updated', async () => {
    const { startedAt } = await start();
    const { updateBot } = await fixture.editor.ask(UpdateBotDocument, {
      id: bot.id,
      input: { name: 'bot, on' },
    });
    expect(updateBot).toMatchObject({ status: 'RUNNING', version: 3, startedAt });
  });

  test('start a bot once if several requests do so at once, and answer all with the running bot', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, async () => await start()));
    expect(new Set(answers.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify(answers[0])]),
    );
    expect(answers[0]).toMatchObject({ status: 'RUNNING', version: 2 });
  });
});

describe('deleteBot', () => {
  test('answers with the id, and deletes the messages and totals', async () => {
    const { id } = await create();
    const { sql } = fixture.database;
    await fixture.editor.ask(RecordMessagesDocument, { botId: id, messages: [outbound, outbound] });
    const [message] = await sql<{ id: string }[]>`select id from messages where bot_id = ${id}`;
    await readEverywhere(id);
    const { bots: before } = await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId });
    await fixture.viewer.ask(BotStatsDocument, { id });

    expect(await fixture.owner.ask(DeleteBotDocument, { id })).toEqual({ deleteBot: id });

    for (const document of [BotDocument, BotDetailsDocument, BotStatsDocument] as const) {
      const answer = await fixture.viewer.send(document as typeof BotDocument, { id });
      expect(answer.errors?.map(({ extensions }) => extensions.code)).toEqual(['NOT_FOUND']);
    }
    const { bots } = await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId });
    expect(bots.total).toBe(before.total - 1);
    expect(bots.items.map((bot) => bot.id)).not.toContain(id);
    const { organization } = await fixture.viewer.ask(OrganizationBotsDocument, { id: fixture.orgId });
    expect(organization?.bots.map((bot) => bot.id)).not.toContain(id);
    const variables = { id: message?.id ?? '', status: 'FAILED' } as const;
    expect(await fixture.editor.failure(UpdateMessageStatusDocument, variables)).toMatchObject({
      code: 'NOT_FOUND',
    });
    const [left] = await sql`select
      (select count(*)::int from messages where bot_id = ${id}) as messages,
      (select count(*)::int from bot_stats where bot_id = ${id}) as totals,
      (select count(*)::int from conversations where bot_id = ${id}) as conversations`;
    expect(left).toEqual({ messages: 0, totals: 0, conversations: 0 });
  });

  test('by SQL leaves the rest of a list intact that still contains the bot', async () => {
    const { id } = await create();
    await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId });
    await fixture.database.sql`delete from bots where id = ${id}`;
    const answer = await askUntil(
      async () => await fixture.viewer.send(BotsWithStatsDocument, { orgId: fixture.orgId }),
      ({ data, errors }) => errors !== undefined || data?.bots.items.every((bot) => bot.id !== id) === true,
    );
    expect(answer.errors).toBeUndefined();
    expect(answer.data?.bots.items.map((bot) => bot.id)).not.toContain(id);
  });

  test('answers NOT_FOUND if the bot has been deleted', async () => {
    const { id } = await create();
    const answers = await Promise.all(
      Array.from({ length: 4 }, async () => await fixture.owner.send(DeleteBotDocument, { id })),
    );
    const codes = answers.map(({ errors }) => errors?.[0]?.extensions.code ?? 'OK');
    expect(codes.sort()).toEqual(['NOT_FOUND', 'NOT_FOUND', 'NOT_FOUND', 'OK']);
    expect(await fixture.owner.failure(DeleteBotDocument, { id })).toMatchObject({ code: 'NOT_FOUND' });
  });
});

describe('recordMessages', () => {
  test('stores the messages unchanged, and answers with statistics that include them', async () => {
    const { id } = await create();
    const messages: MessageInput[] = [
      { ...outbound, conversationId: 'a', status: 'DELIVERED', responseTimeMs: 10 },
      { ...outbound, conversationId: 'a', status: 'FAILED', responseTimeMs: 21 },
      { ...outbound, conversationId: 'b', status: 'PENDING' },
      { ...outbound, conversationId: 'c', status: 'DELIVERED', responseTimeMs: 0 },
      { ...outbound, conversationId: 'c', direction: 'INBOUND', status: 'FAILED', text: '' },
    ];
    const { recordMessages } = await fixture.editor.ask(RecordMessagesDocument, { botId: id, messages });
    expect(recordMessages).toEqual({
      botId: id,
      totalMessages: 5,
      inboundMessages: 1,
      outboundMessages: 4,
      failedMessages: 2,
      totalConversations: 3,
      averageResponseTimeMs: 31 / 3,
      successRate: 2 / 3,
      lastMessageAt: expect.any(String),
      computedAt: expect.any(String),
    });
    const rows = await fixture.database.sql`
      select conversation_id, contact_id, direction, status, text, response_time_ms from messages
      where bot_id = ${id} order by conversation_id, direction desc, response_time_ms`;
    expect(rows.map((row) => Object.values(row))).toEqual([
      ['a', 'contact', 'OUTBOUND', 'DELIVERED', 'Hello', 10],
      ['a', 'contact', 'OUTBOUND', 'FAILED', 'Hello', 21],
      ['b', 'contact', 'OUTBOUND', 'PENDING', 'Hello', null],
      ['c', 'contact', 'OUTBOUND', 'DELIVERED', 'Hello', 0],
      ['c', 'contact', 'INBOUND', 'FAILED', '', null],
    ]);
  });

  test("does not change the bot's version or its place in lists", async () => {
    const bot = await create();
    await fixture.editor.ask(RecordMessagesDocument, { botId: bot.id, messages: [outbound] });
    expect(await readEverywhere(bot.id)).toEqual(everywhere(bot));
  });

  test('answers NOT_FOUND, or comes before the deletion, if the bot is deleted meanwhile, and leaves nothing behind', async () => {
    const { id } = await create();
    const answers = await Promise.all([
      ...Array.from(
        { length: 6 },
        async () => await fixture.editor.send(RecordMessagesDocument, { botId: id, messages: [outbound] }),
      ),
      fixture.owner.send(DeleteBotDocument, { id }),
    ]);
    for (const { errors } of answers)
      expect([undefined, 'NOT_FOUND']).toContain(errors?.[0]?.extensions.code);
    expect(
      await fixture.editor.failure(RecordMessagesDocument, { botId: id, messages: [outbound] }),
    ).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect([...(await fixture.database.sql`select 1 from messages where bot_id = ${id}`)]).toEqual([]);
    expect([...(await fixture.database.sql`select 1 from bot_stats where bot_id = ${id}`)]).toEqual([]);
  });
});

describe('updateMessageStatus', () => {
  test('answers with the message, and is counted everywhere at once', async () => {
    const { id: botId } = await create();
    const messages: MessageInput[] = [{ ...outbound, responseTimeMs: 7 }];
    await fixture.editor.ask(RecordMessagesDocument, { botId, messages });
    const [row] = await fixture.database.sql<{ id: string; created_at: Date }[]>`
      select id, created_at from messages where bot_id = ${botId}`;
    const id = row?.id ?? '';
    for (const [status, successRate, failedMessages] of [
      ['FAILED', 0, 1],
      ['FAILED', 0, 1],
      ['DELIVERED', 1, 0],
      ['PENDING', null, 0],
    ] as const) {
      await fixture.viewer.ask(BotStatsDocument, { id: botId });
      await fixture.viewer.ask(BotDetailsDocument, { id: botId });
      const { updateMessageStatus } = await fixture.editor.ask(UpdateMessageStatusDocument, { id, status });
      expect(updateMessageStatus).toEqual({
        ...messages[0],
        id,
        botId,
        status,
        createdAt: row?.created_at.toISOString(),
      });
      const expected = { successRate, failedMessages, totalMessages: 1, averageResponseTimeMs: 7 };
      expect((await fixture.viewer.ask(BotStatsDocument, { id: botId })).botStats).toMatchObject(expected);
      expect((await fixture.viewer.ask(BotDetailsDocument, { id: botId })).botDetails?.stats).toMatchObject(
        expected,
      );
    }
  });

  test('answers NOT_FOUND if the message does not exist', async () => {
    const variables = { id: randomUUID(), status: 'FAILED' } as const;
    expect(await fixture.editor.failure(UpdateMessageStatusDocument, variables)).toMatchObject({
      code: 'NOT_FOUND',
      data: null,
    });
  });
});

describe('several mutations in one request', () => {
  const STATE =
    'fragment State on Bot { name version status stats { totalMessages } organization { bots { id name version } } }';

  test('are made in their order, and each sees the ones before it', async () => {
    const { id } = await create();
    await readEverywhere(id);
    const { data, errors } = await fixture.owner.sendText<Record<string, State>>(
      `mutation ($id: ID!, $messages: [MessageInput!]!) {
        a: updateBot(id: $id, input: { name: "bot a", expectedVersion: 1 }) { ...State }
        b: startBot(id: $id) { ...State }
        c: startBot(id: $id) { ...State }
        d: recordMessages(botId: $id, messages: $messages) { totalMessages }
        e: updateBot(id: $id, input: { name: "bot e", expectedVersion: 3 }) { ...State }
        f: recordMessages(botId: $id, messages: $messages) { totalMessages }
        g: stopBot(id: $id) { ...State }
      }
      ${STATE}`,
      { id, messages: [outbound, outbound] },
    );
    expect(errors).toBeUndefined();
    /** The answer of one mutation, with the bot in question out of the organization's bots. */
    interface State {
      readonly organization?: { readonly bots: readonly { readonly id: string }[] };
    }
    const seen = Object.entries(data ?? {}).map(([alias, { organization, ...rest }]) => [
      alias,
      rest,
      ...(organization?.bots.filter((bot) => bot.id === id) ?? []),
    ]);
    const state = (alias: string, name: string, version: number, status: string, totalMessages: number) => [
      alias,
      { name, version, status, stats: { totalMessages } },
      { id, name, version },
    ];
    expect(seen).toEqual([
      state('a', 'bot a', 2, 'STOPPED', 0),
      state('b', 'bot a', 3, 'RUNNING', 0),
      state('c', 'bot a', 3, 'RUNNING', 0),
      ['d', { totalMessages: 2 }],
      state('e', 'bot e', 4, 'RUNNING', 2),
      ['f', { totalMessages: 4 }],
      state('g', 'bot e', 5, 'STOPPED', 4),
    ]);
  });

  test('two bots created in one request are both in the list that the second one reads', async () => {
    await fixture.viewer.ask(OrganizationBotsDocument, { id: fixture.orgId });
    const { data } = await fixture.owner.sendText<
      Record<string, { id: string; organization: { bots: { id: string }[] } }>
    >(
      `mutation ($input: CreateBotInput!) {
        a: createBot(input: $input) { id organization { bots { id } } }
        b: createBot(input: $input) { id organization { bots { id } } }
      }`,
      { input: { orgId: fixture.orgId, name: 'bot' } },
    );
    const idsSeenBy = (alias: string) => data?.[alias]?.organization.bots.map(({ id }) => id) ?? [];
    expect(idsSeenBy('a').slice(0, 1)).toEqual([data?.a?.id]);
    expect(idsSeenBy('b').slice(0, 2)).toEqual([data?.b?.id, data?.a?.id]);
  });

  test('a bot that a request deletes is absent for the rest of it, and earlier mutations stay made', async () => {
    const [{ id }, { id: other }] = [await create(), await create()];
    const answer = await fixture.owner.sendText(
      `mutation ($id: ID!, $other: ID!) {
        a: startBot(id: $other) { id }
        b: deleteBot(id: $id)
        c: startBot(id: $id) { id }
      }`,
      { id, other },
    );
    expect(answer.data).toBeNull();
    expect(answer.errors).toEqual([
      expect.objectContaining({ path: ['c'], extensions: { code: 'NOT_FOUND' } }),
    ]);
    expect(await fixture.viewer.failure(BotDocument, { id })).toMatchObject({ code: 'NOT_FOUND' });
    expect((await fixture.viewer.ask(BotDocument, { id: other })).bot).toMatchObject({
      status: 'RUNNING',
      version: 2,
    });
  });

  test('a mutation that fails ends the request: those after it are not made', async () => {
    const { id } = await create();
    const answer = await fixture.editor.sendText(
      `mutation ($id: ID!) {
        a: updateBot(id: $id, input: { name: "bot a", expectedVersion: 9 }) { id }
        b: updateBot(id: $id, input: { name: "bot b", expectedVersion: 1 }) { id }
      }`,
      { id },
    );
    expect(answer.errors?.map(({ path, extensions }) => [path, extensions.code])).toEqual([
      [['a'], 'CONFLICT'],
    ]);
    expect((await fixture.viewer.ask(BotDocument, { id })).bot).toMatchObject({ name: 'bot', version: 1 });
  });
});
