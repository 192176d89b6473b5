import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';

import {
  AddMessagesDocument,
  BotMessagesDocument,
  DeleteBotDocument,
  RecordMessagesDocument,
  UpdateMessageStatusDocument,
  type BotMessagesQueryVariables,
  type MessageInput,
} from '../generated/graphql.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';
import { askUntil, createFixture, type Fixture } from './fixture.js';

let fixture: Fixture;
let id: string;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

beforeEach(async () => {
  [id] = (await addBots(fixture.database.sql, fixture.orgId, 1)) as [string];
});

const message = (text: string, change: Partial<MessageInput> = {}): MessageInput => ({
  conversationId: 'c',
  contactId: 'p',
  direction: 'OUTBOUND',
  status: 'DELIVERED',
  text,
  ...change,
});

const add = async (messages: MessageInput[], botId = id) =>
  (await fixture.editor.ask(AddMessagesDocument, { botId, messages })).addMessages;

const read = async (variables: Omit<BotMessagesQueryVariables, 'id'> = {}, botId = id) => {
  const { bot } = await fixture.viewer.ask(BotMessagesDocument, { id: botId, ...variables });
  if (!bot) throw new Error('No bot');
  return bot.messages;
};

const texts = async (variables: Omit<BotMessagesQueryVariables, 'id'> = {}, botId = id) =>
  (await read(variables, botId)).edges.map(({ node }) => node.text);

/** Adds messages with these texts by SQL, one minute apart, the last one newest. */
const insert = async (count: number, createdAt = `timestamptz '2026-01-01' + n * interval '1 minute'`) => {
  await fixture.database.sql.unsafe(`
    insert into messages (bot_id, conversation_id, contact_id, direction, status, text, created_at)
    select '${id}', 'c' || n % 3, 'p', (array['INBOUND', 'OUTBOUND'])[1 + n % 2]::message_direction,
      (array['PENDING', 'DELIVERED', 'FAILED'])[1 + n % 3]::message_status, 'm' || n, ${createdAt}
    from generate_series(1, ${count}) as n`);
};

/** The texts of all pages, in order. */
const walk = async (first: number, filter: Omit<BotMessagesQueryVariables, 'id'> = {}): Promise<string[]> => {
  const found: string[] = [];
  for (let after: string | null | undefined = null; ;) {
    const page = await read({ first, after, ...filter });
    expect(page.pageInfo.hasPreviousPage).toBe(after !== null);
    found.push(...page.edges.map(({ node }) => node.text));
    if (!page.pageInfo.hasNextPage) return found;
    expect(page.edges).toHaveLength(first);
    after = page.pageInfo.endCursor;
  }
};

describe('addMessages', () => {
  test('answers with the messages in their order, the bot, and the statistics that include them', async () => {
    const inputs = [
      message('1', { responseTimeMs: 5 }),
      message('2', { direction: 'INBOUND', conversationId: 'other' }),
      message('3', { status: 'FAILED' }),
    ];
    const { messages, bot, stats } = await add(inputs);
    const filled = (input: MessageInput) => ({ responseTimeMs: null, ...input, botId: id });
    expect(messages).toMatchObject(inputs.map(filled));
    expect(bot).toMatchObject({ id, name: 'bot 1' });
    expect(stats).toMatchObject({ id, totalMessages: 3, failedMessages: 1, totalConversations: 2 });
    const rows = await fixture.database.sql<{ id: string; text: string; created_at: Date }[]>`
      select id, text, created_at from messages where bot_id = ${id} order by text`;
    expect(messages.map((each) => [each.id, each.text, each.createdAt])).toEqual(
      rows.map((row) => [row.id, row.text, row.created_at.toISOString()]),
    );
  });

  test('returns the ids that updateMessageStatus takes', async () => {
    const { messages } = await add([message('a'), message('b')]);
    const { updateMessageStatus } = await fixture.editor.ask(UpdateMessageStatusDocument, {
      id: messages[1]?.id ?? '',
      status: 'FAILED',
    });
    expect(updateMessageStatus).toEqual({ ...messages[1], status: 'FAILED' });
  });

  test('lists messages that were added together with the last one first', async () => {
    await add(Array.from({ length: 50 }, (_, i) => message(`${i}`)));
    expect(await texts({ first: 100 })).toEqual(Array.from({ length: 50 }, (_, i) => `${49 - i}`));
  });

  test.each([1, 500])('%d of them are added at once', async (count) => {
    const { messages, stats } = await add(Array.from({ length: count }, (_, i) => message(`${i}`)));
    expect(messages.map(({ text }) => text)).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
    expect(stats.totalMessages).toBe(count);
  });

  test.each([0, 501])('%d of them are refused, and none is added', async (count) => {
    const messages = Array.from({ length: count }, () => message('x'));
    expect(await fixture.editor.failure(AddMessagesDocument, { botId: id, messages })).toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'messages',
    });
    expect(await texts()).toEqual([]);
  });

  test('names the message that breaks a rule, and adds none', async () => {
    const messages = [message('fine'), message('x', { conversationId: '' })];
    expect(await fixture.editor.failure(AddMessagesDocument, { botId: id, messages })).toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'messages.1.conversationId',
    });
    expect(await texts()).toEqual([]);
  });

  test('returns the bot with its current state, however warm the cache is', async () => {
    const { data } = await fixture.editor.sendText<{
      addMessages: { bot: { stats: { totalMessages: number }; messages: { nodes: { text: string }[] } } };
    }>(
      `mutation ($id: ID!, $m: [MessageInput!]!) {
        a: addMessages(botId: $id, messages: $m) { bot { stats { totalMessages } messages { nodes { text } } } }
        addMessages(botId: $id, messages: $m) { bot { stats { totalMessages } messages { nodes { text } } } }
      }`,
      { id, m: [message('x')] },
    );
    expect(data?.addMessages.bot).toEqual({
      stats: { totalMessages: 2 },
      messages: { nodes: [{ text: 'x' }, { text: 'x' }] },
    });
  });
});

describe("a bot's messages", () => {
  test('are listed newest first, 20 to a page, unless asked otherwise', async () => {
    await insert(25);
    const newest = Array.from({ length: 25 }, (_, i) => `m${25 - i}`);
    expect(await texts()).toEqual(newest.slice(0, 20));
    expect(await texts({ first: 100 })).toEqual(newest);
    const page = await read({ first: 3 });
    expect(page.nodes.map((node) => node.id)).toEqual(page.edges.map(({ node }) => node.id));
    expect(page.pageInfo).toEqual({
      hasNextPage: true,
      hasPreviousPage: false,
      startCursor: page.edges[0]?.cursor,
      endCursor: page.edges[2]?.cursor,
    });
  });

  test('a bot without any has an empty page', async () => {
    expect(await read()).toEqual({
      edges: [],
      nodes: [],
      pageInfo: { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null },
    });
  });

  test.each([
    ['of different minutes', undefined],
    ['of one microsecond', `timestamptz '2026-01-01'`],
    ['of neighbouring microseconds', `timestamptz '2026-01-01 00:00:00.9999' + n * interval '1 microsecond'`],
    ['of the end of time', `'infinity'::timestamptz`],
    ['of its beginning', `'-infinity'::timestamptz`],
    ['of the largest years', `timestamptz '294276-12-31 23:59:59.999+00' + n * interval '1 microsecond'`],
    ['of the smallest', `timestamptz '4714-11-24 00:00:00+00 BC' + n * interval '1 microsecond'`],
  ])('%s are on one page each, whatever the size of pages', async (_what, createdAt) => {
    await insert(17, createdAt);
    const [all] = await fixture.database.sql<[{ texts: string[] }]>`
      select to_json(array_agg(text order by created_at desc, id desc)) as texts from messages where bot_id = ${id}`;
    for (const first of [1, 4, 17]) expect(await walk(first)).toEqual(all.texts);
  });

  test.each([
    [{ direction: 'INBOUND' }, 10],
    [{ status: 'FAILED' }, 7],
    [{ direction: 'OUTBOUND', status: 'PENDING' }, 3],
    [{ conversationId: 'c1' }, 7],
    [{ conversationId: 'c1', direction: 'OUTBOUND' }, 4],
    [{ conversationId: 'c1', status: 'DELIVERED' }, 7],
    [{ conversationId: 'c1', status: 'FAILED' }, 0],
    [{ conversationId: 'c1', direction: 'INBOUND', status: 'DELIVERED' }, 3],
    [{ conversationId: 'nobody' }, 0],
    [{ conversationId: '%' }, 0],
  ] as const)('are filtered by %j', async (filter, count) => {
    await insert(20);
    const { sql } = fixture.database;
    const { conversationId = null, direction = null, status = null } = filter as Record<string, string>;
    const rows = await sql<{ text: string }[]>`
      select text from messages where bot_id = ${id}
        and (${conversationId}::text is null or conversation_id = ${conversationId})
        and (${direction}::text is null or direction::text = ${direction})
        and (${status}::text is null or status::text = ${status})
      order by created_at desc, id desc`;
    expect(rows).toHaveLength(count);
    expect(await walk(2, filter)).toEqual(rows.map(({ text }) => text));
    expect(await walk(100, filter)).toEqual(rows.map(({ text }) => text));
  });

  test('a cursor keeps its place while newer messages are added, and after its own message is deleted', async () => {
    await insert(6);
    const { endCursor } = (await read({ first: 3 })).pageInfo;
    await add([message('newer')]);
    expect(await texts({ first: 3, after: endCursor })).toEqual(['m3', 'm2', 'm1']);
    await fixture.database.sql`delete from messages where bot_id = ${id} and text = 'm4'`;
    await askUntil(
      async () => (await texts({ first: 100 })).length,
      (count) => count === 6,
    );
    expect(await texts({ first: 3, after: endCursor })).toEqual(['m3', 'm2', 'm1']);
  });

  const encoded = (text: string) => Buffer.from(text).toString('base64url');
  test.each([
    '',
    'x',
    '1',
    `${encoded(`1.${randomUUID()}`)}=`,
    encoded(`1.${randomUUID()} `),
    encoded(`01.${randomUUID()}`),
    encoded(`-0.${randomUUID()}`),
    encoded(`1e3.${randomUUID()}`),
    encoded(`9223371331200000000.${randomUUID()}`),
    encoded(`-211813488000000001.${randomUUID()}`),
    encoded(`1.${randomUUID().toUpperCase()}`),
    encoded('1.x'),
    encoded(`1.${randomUUID()}`).repeat(2),
    '\0',
    '\ud800',
    'é🤖',
    'x'.repeat(100_000),
  ])('a cursor that no page returned is refused, naming the argument (%#)', async (after) => {
    expect(await fixture.viewer.failure(BotMessagesDocument, { id, after })).toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'after',
    });
  });

  test.each(['9223371331199999999', '-211813488000000000', '0', 'infinity', '-infinity'])(
    'a cursor of the instant %s is a place like any other',
    async (at) => {
      await insert(1);
      const after = encoded(`${at}.ffffffff-ffff-4fff-8fff-ffffffffffff`);
      expect(await texts({ after })).toEqual(at.startsWith('-') || at === '0' ? [] : ['m1']);
    },
  );

  test.each([
    ['first', { first: 0 }],
    ['first', { first: 101 }],
    ['first', { first: -1 }],
    ['conversationId', { conversationId: '' }],
    ['conversationId', { conversationId: 'x'.repeat(256) }],
    ['conversationId', { conversationId: '\0' }],
    ['conversationId', { conversationId: '\ud800' }],
    ['direction', { direction: 'SIDEWAYS' as never }],
    ['status', { status: 'READ' as never }],
  ])('a wrong %s is refused, naming the argument (%#)', async (field, variables) => {
    expect(await fixture.viewer.failure(BotMessagesDocument, { id, ...variables })).toMatchObject({
      code: 'BAD_USER_INPUT',
      field,
    });
  });

  test('explicit nulls mean the same as absent arguments', async () => {
    await insert(3);
    const nothing = { first: null, after: null, conversationId: null, direction: null, status: null };
    expect(await texts(nothing)).toEqual(['m3', 'm2', 'm1']);
  });
});

/** Two pages that every write of messages changes, and one that most writes change. */
const VIEWS = [{}, { first: 1 }, { conversationId: 'c', status: 'DELIVERED' as const }];
const views = async (botId = id) => await Promise.all(VIEWS.map(async (each) => await texts(each, botId)));

describe('pages of messages in the cache', () => {
  /** Reads until all of them are answered without SQL. */
  const warm = async () => {
    await eventually(async () => {
      fixture.app.statements.length = 0;
      await views();
      return fixture.app.statements.length === 0;
    });
  };

  test('are read without SQL, for every caller and every spelling of the query', async () => {
    await insert(3);
    await warm();
    const { data } = await fixture.owner.sendText<{ bot: { messages: { nodes: unknown[] } } }>(
      `{ bot(id: "${id}") { messages { nodes { text } } } }`,
    );
    expect(data?.bot.messages.nodes).toHaveLength(3);
    expect(fixture.app.statements.filter((statement) => statement.includes('"messages"'))).toEqual([]);
    const keys = await fixture.admin.keys(`bot:${id}:messages:*`);
    expect(keys.toSorted()).toEqual(
      [
        `bot:${id}:messages:first:1:after::conversation::direction::status:`,
        `bot:${id}:messages:first:20:after::conversation::direction::status:`,
        `bot:${id}:messages:first:20:after::conversation:c:direction::status:DELIVERED`,
      ].toSorted(),
    );
  });

  test.each([
    [
      'recordMessages',
      async () => await fixture.editor.ask(RecordMessagesDocument, { botId: id, messages: [message('new')] }),
    ],
    ['addMessages', async () => await add([message('new')])],
  ])('are outdated by %s before it answers, and leave Redis', async (_name, write) => {
    await add([message('old')]);
    for (let time = 1; time <= 3; time++) {
      await warm();
      await write();
      expect(await fixture.admin.keys(`bot:${id}:messages:*`)).toEqual([]);
      const all = [...Array.from({ length: time }, () => 'new'), 'old'];
      expect(await views()).toEqual([all, ['new'], all]);
    }
  });

  test('are outdated by updateMessageStatus before it answers', async () => {
    const { messages } = await add([message('a'), message('b')]);
    for (const status of ['FAILED', 'DELIVERED'] as const) {
      await warm();
      await fixture.editor.ask(UpdateMessageStatusDocument, { id: messages[0]?.id ?? '', status });
      const delivered = status === 'FAILED' ? ['b'] : ['b', 'a'];
      expect(await views()).toEqual([['b', 'a'], ['b'], delivered]);
    }
  });

  test('are removed with their bot', async () => {
    await add([message('a')]);
    await warm();
    await fixture.owner.ask(DeleteBotDocument, { id });
    expect(await fixture.admin.keys(`bot:${id}:messages:*`)).toEqual([]);
    expect(await fixture.viewer.failure(BotMessagesDocument, { id })).toMatchObject({ code: 'NOT_FOUND' });
  });

  const insertion = 'insert into messages (bot_id, conversation_id, contact_id, direction, status, text)';
  test.each([
    [
      'an insert',
      (bot: string) => `${insertion} values ('${bot}', 'c', 'p', 'INBOUND', 'DELIVERED', 'new')`,
      [['new', 'a'], ['new'], ['new', 'a']],
    ],
    [
      'an update that no total shows',
      (bot: string) => `update messages set text = 'x' where bot_id = '${bot}'`,
      [['x'], ['x'], ['x']],
    ],
    ['a delete', (bot: string) => `delete from messages where bot_id = '${bot}'`, [[], [], []]],
    ['a truncate', () => 'truncate messages', [[], [], []]],
  ])('are outdated by %s through SQL within 2 s', async (_what, statement, expected) => {
    await add([message('a')]);
    await warm();
    await fixture.database.sql.unsafe(statement(id));
    expect(await askUntil(views, (seen) => JSON.stringify(seen) === JSON.stringify(expected))).toEqual(
      expected,
    );
  });

  test('are loaded for 20 bots by one statement', async () => {
    const botIds = await addBots(fixture.database.sql, fixture.orgId, 20);
    for (const [n, botId] of botIds.entries()) await add([message(`${n}`)], botId);
    const variables = { orgId: fixture.orgId };
    const query = `query ($orgId: ID!) { bots(orgId: $orgId) { items { id
      messages(first: 2, status: DELIVERED) { nodes { botId text } } } } }`;
    fixture.app.statements.length = 0;
    const { data } = await fixture.viewer.sendText<{
      bots: { items: { id: string; messages: { nodes: { botId: string }[] } }[] };
    }>(query, variables);
    expect(data?.bots.items).toHaveLength(20);
    for (const bot of data?.bots.items ?? []) {
      for (const node of bot.messages.nodes) expect(node.botId).toBe(bot.id);
    }
    expect(fixture.app.statements.filter((text) => text.includes('"messages"'))).toHaveLength(1);
  });
});
