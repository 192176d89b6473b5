import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import {
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  OrganizationBotsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
  type MessageInput,
} from '../generated/graphql.js';
import type { GraphQLAnswer } from '../support/client.js';
import { addBots, addOrganization } from '../support/people.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';

const MAX_INT = 2 ** 31 - 1;
const NUL = '\0';
const LONE_SURROGATE = '\ud83d';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

const create = async (name: string, description?: string | null, orgId = fixture.orgId) =>
  await fixture.owner.send(CreateBotDocument, {
    input: { orgId, name, ...(description === undefined ? {} : { description }) },
  });

/** The code and the field of the only error. */
function refusal(answer: GraphQLAnswer<unknown>): { code: string | undefined; field: string | undefined } {
  expect(answer.errors).toHaveLength(1);
  const { code, field } = answer.errors?.[0]?.extensions ?? {};
  return { code, field };
}

const badInput = (field: string) => ({ code: 'BAD_USER_INPUT', field });

describe('page and limit', () => {
  const literal = async (args: string) =>
    await fixture.viewer.sendText<{ bots: { page: number; limit: number; total: number } }>(
      `{ bots(orgId: "${fixture.orgId}", ${args}) { page limit total items { id } } }`,
    );

  beforeAll(async () => {
    await addBots(fixture.database.sql, fixture.orgId, 3);
  });

  test.each([
    ['page', 1],
    ['page', 2],
    ['page', MAX_INT],
    ['limit', 1],
    ['limit', 100],
  ] as const)('%s may be %d', async (argument, value) => {
    for (const answer of [
      await literal(`${argument}: ${value}`),
      await fixture.viewer.send(BotsDocument, { orgId: fixture.orgId, [argument]: value }),
    ]) {
      expect(answer.errors).toBeUndefined();
      expect(answer.data?.bots[argument]).toBe(value);
    }
  });

  test('the last page of the largest pages is answered', async () => {
    const answer = await literal(`page: ${MAX_INT}, limit: 100`);
    expect(answer.data?.bots).toMatchObject({ total: 3, items: [] });
  });

  test.each([
    ['page', 0],
    ['page', -1],
    ['page', -MAX_INT],
    ['page', MAX_INT + 1],
    ['page', 1.5],
    ['page', 1e30],
    ['page', '"1"'],
    ['page', 'true'],
    ['limit', 0],
    ['limit', -1],
    ['limit', 101],
    ['limit', MAX_INT],
    ['limit', MAX_INT + 1],
    ['limit', 2.5],
    ['limit', '99999999999999999999999999999999'],
    ['limit', '[20]'],
  ] as const)('%s may not be %s, as a literal or as a variable', async (argument, value) => {
    expect(refusal(await literal(`${argument}: ${value}`))).toEqual(badInput(argument));
    const variables = { orgId: fixture.orgId, [argument]: JSON.parse(String(value)) as unknown };
    expect(refusal(await fixture.viewer.send(BotsDocument, variables))).toEqual(badInput(argument));
  });

  test('the error names the field, whatever the variable is called', async () => {
    const send = async (type: string, value: unknown) =>
      await fixture.viewer.sendText(
        `query ($number: ${type}) { bots(orgId: "${fixture.orgId}", limit: $number) { total } }`,
        { number: value },
      );
    expect(refusal(await send('Int', 101))).toEqual(badInput('limit'));
    expect(refusal(await send('Int', MAX_INT + 1))).toEqual(badInput('limit'));
    expect(refusal(await send('Int = 5', 'five'))).toEqual(badInput('limit'));
  });

  test('explicit nulls mean the same as absent arguments', async () => {
    const nulls = { page: null, limit: null, search: null };
    const { bots } = await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId, ...nulls });
    expect(bots).toEqual((await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId })).bots);
    expect(bots).toMatchObject({ page: 1, limit: 20, total: 3 });
    expect((await literal('page: null, limit: null, search: null')).data?.bots).toMatchObject({
      page: 1,
      limit: 20,
      total: 3,
    });
  });
});

describe('search', () => {
  const find = async (search: string, orgId = fixture.orgId) =>
    (await fixture.viewer.ask(BotsDocument, { orgId, search, limit: 100 })).bots.items.map(
      ({ name }) => name,
    );

  /** Adds an organization with the fixture's users in their roles, and bots of these names. */
  async function organizationWith(...names: string[]): Promise<string> {
    const { sql } = fixture.database;
    const orgId = await addOrganization(sql, 'Searched');
    await sql`insert into memberships (user_id, org_id, role)
      select user_id, ${orgId}, role from memberships where org_id = ${fixture.orgId}`;
    for (const name of names) await sql`insert into bots (org_id, name) values (${orgId}, ${name})`;
    // The memberships were added by SQL, so the server may take a moment to see them.
    await askUntil(
      async () => await fixture.viewer.send(BotsDocument, { orgId, limit: 1 }),
      ({ errors }) => errors === undefined,
    );
    return orgId;
  }

  describe.each([
    ['a percent sign', '100%', '100x'],
    ['an underscore', 'a_b', 'axb'],
    ['a backslash', String.raw`a\b`, 'ab'],
    ['two backslashes', String.raw`a\\b`, String.raw`a\b`],
    ['a backslash before a wildcard', String.raw`\%`, '%'],
    ['a backslash at the end', 'ab\\', 'abc'],
    ['an asterisk', 'a*b', 'axxb'],
    ['a question mark', 'a?b', 'axb'],
    ['brackets', '[ab]', 'a'],
    ['a colon', 'a:b', 'a;b'],
    ['braces', '{a}', 'a'],
    ['a hash tag of a cluster', '{x}:page:1', 'x:page:1'],
    ['single quotes', "o'hara", 'ohara'],
    ['a quoted statement', "'; drop table bots; --", 'drop table bots'],
    ['double quotes', '"q"', 'q'],
    ['a placeholder', '$1', '1'],
    ['a regular expression', '^a.*b$', 'axxb'],
    ['a percent code', '%41', 'A'],
    ['a plus sign', 'a+b', 'a b'],
    ['an emoji', '🤖 bot', '🦾 bot'],
    ['an emoji of several code points', '👩‍👩‍👧', '👩'],
    ['a newline inside', 'a\nb', 'a b'],
    ['a tab inside', 'a\tb', 'a b'],
    ['one character', 'ß', 's'],
    ['two characters', '中文', '中'],
    ['what looks like a digest', `sha256:${'0'.repeat(64)}`, 'sha256'],
  ])('with %s', (_what, text, decoy) => {
    let orgId: string;

    beforeAll(async () => {
      orgId = await organizationWith(`before ${text} after`, `before ${decoy} after`);
    });

    test('is taken literally, in the name and in the description', async () => {
      expect(await find(text, orgId)).toEqual([`before ${text} after`]);
      await fixture.owner.ask(CreateBotDocument, {
        input: { orgId, name: 'other', description: `x${text}y` },
      });
      expect(await find(text, orgId)).toEqual(['other', `before ${text} after`]);
    });
  });

  describe('ignores case', () => {
    let orgId: string;

    beforeAll(async () => {
      orgId = await organizationWith('École Élan', 'ΟΔΥΣΣΕΑΣ', 'ЖУРНАЛ', 'Straße', 'Plain Bot');
    });

    test.each([
      ['plain bot', 'Plain Bot'],
      ['PLAIN BOT', 'Plain Bot'],
      ['école', 'École Élan'],
      ['ÉLAN', 'École Élan'],
      ['οδυσσεας', 'ΟΔΥΣΣΕΑΣ'],
      ['οδυσσεασ', 'ΟΔΥΣΣΕΑΣ'],
      ['ΣΕΑΣ', 'ΟΔΥΣΣΕΑΣ'],
      ['журнал', 'ЖУРНАЛ'],
      ['STRAßE', 'Straße'],
    ])('%s finds %s', async (search, name) => {
      expect(await find(search, orgId)).toEqual([name]);
    });

    test('but respects accents', async () => {
      expect(await find('ecole', orgId)).toEqual([]);
    });
  });

  describe('is trimmed', () => {
    test.each([
      ['spaces', '  needle  '],
      ['newlines and tabs', '\n\t needle\r\n'],
      ['other blanks', '\u00a0\u2003needle\u3000\ufeff'],
      ['10 kB of blanks', `${' '.repeat(10_000)}needle${'\n'.repeat(10_000)}`],
    ])('of %s around it', async (_what, search) => {
      const orgId = await organizationWith('hay needle hay', 'hay');
      expect(await find(search, orgId)).toEqual(['hay needle hay']);
    });

    test('but keeps its inner blanks', async () => {
      const orgId = await organizationWith('a  b', 'a b');
      expect(await find(' a  b ', orgId)).toEqual(['a  b']);
    });

    test('so that blanks alone are no search', async () => {
      const orgId = await organizationWith('one', 'two');
      expect(await find(' \n ', orgId)).toHaveLength(2);
    });
  });

  test.each([
    ['a NUL character', `a${NUL}b`],
    ['a NUL character alone', NUL],
    ['a lone high surrogate', `a${LONE_SURROGATE}`],
    ['a lone low surrogate', '\udc00b'],
    ['surrogates in the wrong order', '\udc00\ud83d'],
  ])('with %s, which PostgreSQL cannot store, finds nothing', async (_what, search) => {
    expect(await fixture.viewer.ask(BotsDocument, { orgId: fixture.orgId, search })).toMatchObject({
      bots: { items: [], total: 0, totalPages: 0, hasNextPage: false },
    });
  });

  test.each([
    ['of Latin letters', 'a'],
    ['outside the basic plane', '🤖'],
    ['that are wildcards', '%'],
  ])('may have 200 characters %s, after trimming', async (_what, character) => {
    const text = character.repeat(200);
    const orgId = await organizationWith();
    await create('long', `x${text}y`, orgId);
    await create('short', `x${character.repeat(199)}y`, orgId);
    expect(await find(`  ${text}  `, orgId)).toEqual(['long']);
    const answer = await fixture.viewer.send(BotsDocument, { orgId, search: `${text}${character}` });
    expect(refusal(answer)).toEqual(badInput('search'));
  });

  test('of 10 kB is refused, naming the field', async () => {
    const answer = await fixture.viewer.send(BotsDocument, {
      orgId: fixture.orgId,
      search: 'a'.repeat(10_000),
    });
    expect(refusal(answer)).toEqual(badInput('search'));
  });

  test('that is not a string is refused, naming the field', async () => {
    const variables = { orgId: fixture.orgId, search: 5 as unknown as string };
    expect(refusal(await fixture.viewer.send(BotsDocument, variables))).toEqual(badInput('search'));
  });

  test('has one key for each text, without a character that is special to Redis', async () => {
    const orgId = await organizationWith('bot');
    const texts =
      `a A aa a+b a%20b % %25 a:b a%3Ab * ? [a] {a} {} \\ ~ ' ( ) ! " é e\u0301 🤖 , . .. / :page:1
      :limit:20:search: sha256: sha256%3A __proto__ constructor undefined null`.split(/\s+/);
    texts.push('', 'a b', 'a\nb', `sha256:${'a'.repeat(64)}`, 'a'.repeat(64), 'a'.repeat(65));
    for (const character of 'ab🤖%') texts.push(character.repeat(200));
    const keyPrefix = `bots:org:${orgId}:page:1:limit:20:search:`;
    for (const text of texts) {
      const variables = { orgId, search: ` ${text} ` };
      // A text is stored when it is searched for again.
      for (let time = 0; time < 2; time++) await fixture.viewer.ask(BotsDocument, { ...variables, time });
    }
    const different = new Set(texts).size;
    const keys = await askUntil(
      async () => await fixture.admin.keys(`${keyPrefix}*`),
      (found) => found.filter((key) => !key.endsWith(':lock')).length >= different,
    );
    const values = keys.filter((key) => !key.endsWith(':lock'));
    expect(values).toHaveLength(different);
    for (const key of values) {
      expect(key.slice(keyPrefix.length)).toMatch(/^(?:[\w.~%-]{0,64}|sha256:[0-9a-f]{64})$/);
    }
  });
});

describe('ids', () => {
  const ID_ARGUMENTS = [
    ['organization', 'id', (id: string) => `{ organization(id: ${id}) { id } }`],
    ['bots', 'orgId', (id: string) => `{ bots(orgId: ${id}) { total } }`],
    ['bot', 'id', (id: string) => `{ bot(id: ${id}) { id } }`],
    ['botDetails', 'id', (id: string) => `{ botDetails(id: ${id}) { bot { id } } }`],
    ['botStats', 'id', (id: string) => `{ botStats(id: ${id}) { botId } }`],
    [
      'createBot',
      'orgId',
      (id: string) => `mutation { createBot(input: { orgId: ${id}, name: "x" }) { id } }`,
    ],
    ['updateBot', 'id', (id: string) => `mutation { updateBot(id: ${id}, input: { name: "x" }) { id } }`],
    ['startBot', 'id', (id: string) => `mutation { startBot(id: ${id}) { id } }`],
    ['stopBot', 'id', (id: string) => `mutation { stopBot(id: ${id}) { id } }`],
    ['deleteBot', 'id', (id: string) => `mutation { deleteBot(id: ${id}) }`],
    [
      'recordMessages',
      'botId',
      (id: string) =>
        `mutation { recordMessages(botId: ${id}, messages: [{ conversationId: "c", contactId: "c",
          direction: INBOUND, status: DELIVERED, text: "" }]) { botId } }`,
    ],
    [
      'addMessages',
      'botId',
      (id: string) =>
        `mutation { addMessages(botId: ${id}, messages: [{ conversationId: "c", contactId: "c",
          direction: INBOUND, status: DELIVERED, text: "" }]) { bot { id } } }`,
    ],
    [
      'updateMessageStatus',
      'id',
      (id: string) => `mutation { updateMessageStatus(id: ${id}, status: FAILED) { id } }`,
    ],
  ] as const;

  const uuid = '0f6a3c1e-8a51-4d7e-9b8e-2f1f0c9d7a11';
  const MALFORMED = [
    '',
    'x',
    '1',
    uuid.slice(1),
    `${uuid}0`,
    ` ${uuid}`,
    `${uuid}\n`,
    `{${uuid}}`,
    `urn:uuid:${uuid}`,
    uuid.replaceAll('-', ''),
    uuid.replace('0', 'g'),
    uuid.replace('0', '０'),
    `${uuid.slice(0, -1)}${NUL}`,
    `${uuid}${LONE_SURROGATE}`,
    `${uuid}' or true --`,
  ];

  test.each(ID_ARGUMENTS)(
    'a malformed uuid is refused by %s, naming %s',
    async (_operation, field, document) => {
      for (const id of MALFORMED) {
        const text = document('$id').replace(/^(mutation|)/, (kind) => `${kind || 'query'} ($id: ID!)`);
        expect([id, refusal(await fixture.owner.sendText(text, { id }))]).toEqual([id, badInput(field)]);
      }
      expect(refusal(await fixture.owner.sendText(document('5')))).toEqual(badInput(field));
      expect(refusal(await fixture.owner.sendText(document('null')))).toEqual(badInput(field));
      expect(refusal(await fixture.owner.sendText(document('1.5')))).toEqual(badInput(field));
    },
  );

  test('an upper-case uuid names the same object as the lower-case one', async () => {
    const orgId = fixture.orgId.toUpperCase();
    const { owner } = fixture;
    const { createBot } = await owner.ask(CreateBotDocument, { input: { orgId, name: 'upper' } });
    expect(createBot.orgId).toBe(fixture.orgId);
    const { id } = createBot;
    const upper = id.toUpperCase();
    expect(upper).not.toBe(id);

    expect(await owner.ask(BotsDocument, { orgId })).toEqual(
      await owner.ask(BotsDocument, { orgId: fixture.orgId }),
    );
    expect((await owner.ask(OrganizationBotsDocument, { id: orgId })).organization?.id).toBe(fixture.orgId);
    expect(await owner.ask(BotDocument, { id: upper })).toEqual(await owner.ask(BotDocument, { id }));
    expect(await owner.ask(BotDetailsDocument, { id: upper })).toEqual(
      await owner.ask(BotDetailsDocument, { id }),
    );
    expect(await owner.ask(BotStatsDocument, { id: upper })).toEqual(
      await owner.ask(BotStatsDocument, { id }),
    );
    expect((await owner.ask(StartBotDocument, { id: upper })).startBot).toMatchObject({ id, version: 2 });
    expect((await owner.ask(BotDocument, { id })).bot?.status).toBe('RUNNING');
    expect((await owner.ask(StopBotDocument, { id: upper })).stopBot).toMatchObject({ id, version: 3 });
    const { updateBot } = await owner.ask(UpdateBotDocument, { id: upper, input: { name: 'still upper' } });
    expect(updateBot).toMatchObject({ id, name: 'still upper', version: 4 });
    const messages: MessageInput[] = [
      { conversationId: 'c', contactId: 'c', direction: 'OUTBOUND', status: 'PENDING', text: '' },
    ];
    const { recordMessages } = await owner.ask(RecordMessagesDocument, { botId: upper, messages });
    expect(recordMessages).toMatchObject({ botId: id, totalMessages: 1 });
    const [row] = await fixture.database.sql<{ id: string }[]>`select id from messages where bot_id = ${id}`;
    const messageId = row?.id ?? '';
    const { updateMessageStatus } = await owner.ask(UpdateMessageStatusDocument, {
      id: messageId.toUpperCase(),
      status: 'FAILED',
    });
    expect(updateMessageStatus).toMatchObject({ id: messageId, botId: id, status: 'FAILED' });
    expect((await owner.ask(BotStatsDocument, { id })).botStats?.failedMessages).toBe(1);
    expect(await fixture.admin.keys(`*${upper}*`)).toEqual([]);
    expect((await owner.ask(DeleteBotDocument, { id: upper })).deleteBot).toBe(id);
    expect(await owner.failure(BotDocument, { id })).toMatchObject({ code: 'NOT_FOUND' });
  });

  test('two spellings of one id in one request name one object', async () => {
    const [id] = (await addBots(fixture.database.sql, fixture.orgId, 1)) as [string];
    const { data } = await fixture.viewer.sendText(
      `{ a: bot(id: "${id}") { id version } b: bot(id: "${id.toUpperCase()}") { id version } }`,
    );
    expect(data?.a).toEqual({ id, version: 1 });
    expect(data?.b).toEqual(data?.a);
  });
});

describe('names and descriptions', () => {
  let botId: string;

  beforeAll(async () => {
    botId = (await fixture.owner.ask(CreateBotDocument, { input: { orgId: fixture.orgId, name: 'named' } }))
      .createBot.id;
  });

  const update = async (input: { name?: string; description?: string }) =>
    await fixture.owner.send(UpdateBotDocument, { id: botId, input });

  test.each([
    ['one character', 'x'],
    ['one character outside the basic plane', '🤖'],
    ['120 characters', 'x'.repeat(120)],
    ['120 characters outside the basic plane', '🤖'.repeat(120)],
    ['every kind of character', `\\ % _ ' " \` $1 {{x}} <b> \u202e \ufeff é e\u0301 \t\n`],
    ['blanks around it', '  kept  '],
  ])('a name may have %s, and stays as it is', async (_what, name) => {
    expect((await create(name)).data?.createBot.name).toBe(name);
    expect((await update({ name })).data?.updateBot.name).toBe(name);
    expect((await fixture.viewer.ask(BotDocument, { id: botId })).bot?.name).toBe(name);
    expect((await fixture.viewer.ask(BotDocument, { id: botId })).bot?.name).toBe(name);
  });

  test.each([
    ['no character', ''],
    ['121 characters', 'x'.repeat(121)],
    ['121 characters outside the basic plane', '🤖'.repeat(121)],
    ['a megabyte', 'x'.repeat(1_000_000)],
    ['a NUL character', `a${NUL}b`],
    ['a lone high surrogate', `a${LONE_SURROGATE}b`],
    ['a lone low surrogate', 'a\udd16'],
  ])('a name may not have %s', async (_what, name) => {
    expect(refusal(await create(name))).toEqual(badInput('name'));
    expect(refusal(await update({ name }))).toEqual(badInput('name'));
  });

  test.each([
    ['no character', ''],
    ['2,000 characters', 'x'.repeat(2_000)],
    ['2,000 characters outside the basic plane', '🤖'.repeat(2_000)],
    ['newlines', 'one\r\ntwo\n'],
  ])('a description may have %s, and stays as it is', async (_what, description) => {
    expect((await create('described', description)).data?.createBot.description).toBe(description);
    expect((await update({ description })).data?.updateBot.description).toBe(description);
    expect((await fixture.viewer.ask(BotDocument, { id: botId })).bot?.description).toBe(description);
  });

  test.each([
    ['2,001 characters', 'x'.repeat(2_001)],
    ['2,001 characters outside the basic plane', '🤖'.repeat(2_001)],
    ['a NUL character', `a${NUL}b`],
    ['a lone surrogate', `a${LONE_SURROGATE}b`],
  ])('a description may not have %s', async (_what, description) => {
    expect(refusal(await create('described', description))).toEqual(badInput('description'));
    expect(refusal(await update({ description }))).toEqual(badInput('description'));
  });

  test('a description of null is empty in createBot, and ignored in updateBot', async () => {
    expect((await create('described', null)).data?.createBot.description).toBe('');
    await update({ name: 'kept', description: 'kept' });
    const nulls = { name: null, description: null, expectedVersion: null };
    const { updateBot } = await fixture.owner.ask(UpdateBotDocument, { id: botId, input: nulls });
    expect(updateBot).toMatchObject({ name: 'kept', description: 'kept' });
  });

  test('a refused mutation changes nothing', async () => {
    const before = await fixture.viewer.ask(BotDocument, { id: botId });
    const bots = async () =>
      await fixture.database.sql`select count(*) from bots where org_id = ${fixture.orgId}`;
    const count = await bots();
    refusal(await update({ name: 'changed', description: 'x'.repeat(2_001) }));
    refusal(await create('x', 'x'.repeat(2_001)));
    expect(await fixture.viewer.ask(BotDocument, { id: botId })).toEqual(before);
    expect(await bots()).toEqual(count);
  });

  test.each([
    ['name', 'updateBot', { name: 5 }],
    ['name', 'updateBot', { name: ['x'] }],
    ['description', 'updateBot', { description: false }],
    ['expectedVersion', 'updateBot', { expectedVersion: 1.5 }],
    ['expectedVersion', 'updateBot', { expectedVersion: MAX_INT + 1 }],
    ['expectedVersion', 'updateBot', { expectedVersion: '1' }],
    ['expectedVersion', 'updateBot', { expectedVersion: -1 }],
    ['name', 'createBot', { name: 5 }],
    ['name', 'createBot', { name: null }],
    ['name', 'createBot', { name: undefined }],
    ['description', 'createBot', { description: {} }],
    ['orgId', 'createBot', { orgId: null }],
    ['orgId', 'createBot', { orgId: undefined }],
    ['nickname', 'createBot', { nickname: 'x' }],
  ])('an error names the %s that %s does not accept: %j', async (field, operation, wrong) => {
    const inputs = {
      updateBot: { document: UpdateBotDocument, variables: { id: botId, input: wrong } },
      createBot: {
        document: CreateBotDocument,
        variables: { input: { orgId: fixture.orgId, name: 'x', ...wrong } },
      },
    };
    const { document, variables } = inputs[operation as keyof typeof inputs];
    expect(
      refusal(await fixture.owner.send(document as typeof UpdateBotDocument, variables as never)),
    ).toEqual(badInput(field));
  });

  test.each([
    ['name', '{ name: 5 }'],
    ['description', '{ description: ENUM }'],
    ['expectedVersion', '{ expectedVersion: 99999999999 }'],
    ['expectedVersion', '{ expectedVersion: "1" }'],
  ])('an error names an invalid %s that is written in the document: %s', async (field, input) => {
    const document = `mutation { updateBot(id: "${botId}", input: ${input}) { id } }`;
    expect(refusal(await fixture.owner.sendText(document))).toEqual(badInput(field));
  });

  test('an error names a field without its object, whatever the variables are called', async () => {
    const byPart = `mutation ($a: ID!, $b: String) { updateBot(id: $a, input: { description: $b }) { id } }`;
    expect(refusal(await fixture.owner.sendText(byPart, { a: botId, b: 5 }))).toEqual(
      badInput('description'),
    );
    expect(refusal(await fixture.owner.sendText(byPart, { a: 'x', b: 'y' }))).toEqual(badInput('id'));
    const whole = `mutation ($a: ID!, $b: UpdateBotInput!) { updateBot(id: $a, input: $b) { id } }`;
    expect(refusal(await fixture.owner.sendText(whole, { a: botId, b: { name: '' } }))).toEqual(
      badInput('name'),
    );
    expect(refusal(await fixture.owner.sendText(whole, { a: botId, b: { name: 5 } }))).toEqual(
      badInput('name'),
    );
    expect(refusal(await fixture.owner.sendText(whole, { a: botId, b: 'x' }))).toEqual(badInput('input'));
  });
});

describe('messages', () => {
  let botId: string;

  beforeAll(async () => {
    botId = (await addBots(fixture.database.sql, fixture.orgId, 1))[0] as string;
  });

  const valid: MessageInput = {
    conversationId: 'conversation',
    contactId: 'contact',
    direction: 'OUTBOUND',
    status: 'DELIVERED',
    text: 'Hello',
    responseTimeMs: 1,
  };

  const record = async (messages: readonly unknown[]) =>
    await fixture.editor.send(RecordMessagesDocument, { botId, messages: messages as MessageInput[] });

  const recorded = async () =>
    Number((await fixture.database.sql`select count(*) from messages where bot_id = ${botId}`)[0]?.count);

  test.each([1, 500])('%d of them are recorded at once', async (count) => {
    const before = await recorded();
    const answer = await record(Array.from({ length: count }, () => valid));
    expect(answer.data?.recordMessages.totalMessages).toBe(before + count);
    expect(await recorded()).toBe(before + count);
  });

  test.each([0, 501, 5_000])('%d of them are refused', async (count) => {
    expect(refusal(await record(Array.from({ length: count }, () => valid)))).toEqual(badInput('messages'));
  });

  test('one message without a list is read as a list of one', async () => {
    const before = await recorded();
    const variables = { botId, messages: valid as unknown as MessageInput[] };
    expect((await fixture.editor.send(RecordMessagesDocument, variables)).errors).toBeUndefined();
    expect(await recorded()).toBe(before + 1);
  });

  test.each([
    ['an empty text', { text: '' }],
    ['a text of 8,000 characters', { text: 'x'.repeat(8_000) }],
    ['a text of 8,000 characters outside the basic plane', { text: '🤖'.repeat(8_000) }],
    ['no response time', { responseTimeMs: null }],
    ['a response time of 0', { responseTimeMs: 0 }],
    ['the longest response time', { responseTimeMs: MAX_INT }],
    ['no response time, inbound', { direction: 'INBOUND', responseTimeMs: null }],
    ['ids of 255 characters', { conversationId: '🤖'.repeat(255), contactId: 'c'.repeat(255) }],
    ['what looks like an array of SQL', { text: '{"a",NULL}', conversationId: '{}', contactId: 'NULL' }],
  ] as const)('one with %s is recorded as it is', async (_what, change) => {
    const conversationId = randomUUID();
    const message = { ...valid, conversationId, ...change };
    expect((await record([message])).errors).toBeUndefined();
    const rows = await fixture.database.sql`
      select conversation_id as "conversationId", contact_id as "contactId", direction, status, text,
        response_time_ms as "responseTimeMs"
      from messages where bot_id = ${botId} and conversation_id = ${message.conversationId}`;
    expect([...rows]).toEqual([message]);
  });

  test.each([
    ['text', { text: 'x'.repeat(8_001) }],
    ['text', { text: '🤖'.repeat(8_001) }],
    ['text', { text: `a${NUL}` }],
    ['text', { text: LONE_SURROGATE }],
    ['text', { text: null }],
    ['text', { text: undefined }],
    ['text', { text: 5 }],
    ['conversationId', { conversationId: '' }],
    ['conversationId', { conversationId: NUL }],
    ['conversationId', { conversationId: 'x'.repeat(256) }],
    ['contactId', { contactId: '' }],
    ['contactId', { contactId: LONE_SURROGATE }],
    ['contactId', { contactId: undefined }],
    ['direction', { direction: 'SIDEWAYS' }],
    ['direction', { direction: 'outbound' }],
    ['status', { status: 'READ' }],
    ['status', { status: null }],
    ['responseTimeMs', { responseTimeMs: -1 }],
    ['responseTimeMs', { responseTimeMs: 1.5 }],
    ['responseTimeMs', { responseTimeMs: MAX_INT + 1 }],
    ['responseTimeMs', { direction: 'INBOUND', responseTimeMs: 0 }],
    ['createdAt', { createdAt: '2026-01-01T00:00:00.000Z' }],
  ])(
    'a %s that breaks a rule is named with its place, and nothing is recorded (%#)',
    async (field, change) => {
      const before = await recorded();
      const answer = await record([valid, valid, valid, { ...valid, ...change }, valid]);
      expect(refusal(answer)).toEqual(badInput(`messages.3.${field}`));
      expect(await recorded()).toBe(before);
    },
  );

  test.each([
    ['messages.1.text', 'text: 5'],
    ['messages.1.responseTimeMs', 'responseTimeMs: 99999999999'],
    ['messages.1.direction', 'direction: SIDEWAYS'],
    ['messages.1.contactId', 'contactId: null'],
  ])('%s is named with its place when the messages stand in the document', async (field, wrong) => {
    const literal = (change: string) => {
      const fields = [
        'conversationId: "c"',
        'contactId: "c"',
        'direction: OUTBOUND',
        'status: FAILED',
        'text: ""',
      ];
      const [name] = change.split(':');
      return `{ ${[...fields.filter((each) => !each.startsWith(`${name}:`)), change].join(', ')} }`;
    };
    const document = `mutation { recordMessages(botId: "${botId}",
      messages: [${literal('text: "fine"')}, ${literal(wrong)}]) { botId } }`;
    expect(refusal(await fixture.editor.sendText(document))).toEqual(badInput(field));
  });

  test.each(['READ', 'failed', '', 5, null])(
    'a status of %j is refused, naming the field',
    async (status) => {
      const answer = await fixture.editor.send(UpdateMessageStatusDocument, {
        id: randomUUID(),
        status: status as 'FAILED',
      });
      expect(refusal(answer)).toEqual(badInput('status'));
    },
  );
});

test('no refused input is logged as a server error', async () => {
  refusal(await create(''));
  // On a busy machine Redis can be late at the start, which is logged as well.
  const isOfRedis = (msg: unknown) => String(msg).startsWith('Redis unavailable');
  expect(fixture.app.logs.filter(({ level, msg }) => Number(level) >= 40 && !isOfRedis(msg))).toEqual([]);
});
