import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { buildSchema, execute, parse, type GraphQLSchema } from 'graphql';

import { AnswerBudget, chargeLists } from '../../src/graphql/answer-budget.js';
import { createFixture, type Fixture } from '../contract/fixture.js';
import { addBots, addOrganization, addUser } from '../support/people.js';

/** The limits of an answer count the actual items of its lists. */
describe('lists in an answer', () => {
  let fixture: Fixture;
  let largeOrgId: string;
  let fullOrgId: string;

  beforeAll(async () => {
    fixture = await createFixture();
    [largeOrgId, fullOrgId] = await Promise.all([
      addOrganization(fixture.database.sql),
      addOrganization(fixture.database.sql),
    ]);
    await addBots(fixture.database.sql, largeOrgId, 1_000);
    await addBots(fixture.database.sql, fullOrgId, 1_001);
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const member = async (...orgIds: string[]) => {
    const { token } = await addUser(
      fixture.database.sql,
      Object.fromEntries(orgIds.map((orgId) => [orgId, 'VIEWER'])),
    );
    return fixture.app.client(token);
  };
  const ALL_OF_A_BOT = `id orgId name description status version createdAt updatedAt startedAt
    organization { id name slug }
    stats { botId totalMessages inboundMessages outboundMessages failedMessages totalConversations
      averageResponseTimeMs successRate lastMessageAt computedAt }`;

  test('every field of 1,000 bots is answered, statistics and organization included', async () => {
    const client = await member(largeOrgId);
    const { data, errors } = await client.sendText<{ organization: { bots: unknown[] } }>(
      `query ($id: ID!) { organization(id: $id) { bots { ${ALL_OF_A_BOT} } } }`,
      { id: largeOrgId },
    );
    expect(errors).toBeUndefined();
    expect(data?.organization.bots).toHaveLength(1_000);
  });

  test('lists are charged once, although a query that fails is executed again', async () => {
    const client = await member(largeOrgId);
    const bots = 'organization(id: $id) { bots { id orgId name description status version createdAt } }';
    const text = `query ($id: ID!) { a: ${bots} b: ${bots} c: ${bots} d: ${bots} bot(id: $id) { id } }`;
    for (let time = 0; time < 2; time++) {
      const { errors } = await client.sendText(text, { id: largeOrgId, time });
      expect(errors).toMatchObject([{ path: ['bot'], extensions: { code: 'NOT_FOUND' } }]);
    }
  });

  test('more bots than a list may have are refused, naming the field and the alternative', async () => {
    const client = await member(fullOrgId);
    const { data, errors } = await client.sendText(
      'query ($id: ID!) { organization(id: $id) { bots { id } } }',
      {
        id: fullOrgId,
      },
    );
    expect(data).toEqual({ organization: null });
    expect(errors).toMatchObject([
      {
        message: expect.stringMatching(/1000 bots.*page/),
        extensions: { code: 'BAD_USER_INPUT', field: 'bots' },
      },
    ]);
  });

  test('the statistics of all bots of all memberships are answered if the bots are few', async () => {
    const orgId = await addOrganization(fixture.database.sql);
    await addBots(fixture.database.sql, orgId, 100);
    const client = await member(orgId);
    const { data, errors } = await client.sendText<{
      me: { memberships: { organization: { bots: unknown[] } }[] };
    }>('{ me { memberships { organization { bots { stats { totalMessages } } } } } }');
    expect(errors).toBeUndefined();
    expect(data?.me.memberships[0]?.organization.bots).toHaveLength(100);
  });

  test.each([
    ['lists in lists', 'bots { organization { bots { id } } }'],
    ['aliases of a list', Array.from({ length: 6 }, (_, i) => `a${i}: bots { ${ALL_OF_A_BOT} }`).join(' ')],
  ])('%s multiply, and are refused before the answer is built', async (_what, selection) => {
    const client = await member(largeOrgId);
    const { data, errors } = await client.sendText(
      `query ($id: ID!) { organization(id: $id) { ${selection} } }`,
      { id: largeOrgId },
    );
    expect(data).toEqual({ organization: null });
    expect(errors).toMatchObject([
      {
        message: expect.stringContaining('too expensive'),
        extensions: { code: 'BAD_USER_INPUT', field: 'bots' },
      },
    ]);
  });

  test('texts count by their length: an answer that would be larger than the limit is refused', async () => {
    await fixture.database.sql`update bots set description = repeat('x', 2000) where org_id = ${largeOrgId}`;
    await fixture.admin.flushall();
    const client = await member(largeOrgId);
    const descriptions = Array.from({ length: 20 }, (_, i) => `d${i}: description`).join(' ');
    const query = `query ($id: ID!) { organization(id: $id) { bots { ${descriptions} } } }`;
    const { data, errors } = await client.sendText(query, { id: largeOrgId });
    expect(data).toEqual({ organization: null });
    expect(errors).toMatchObject([
      {
        message: expect.stringMatching(/larger than 20 MB/),
        extensions: { code: 'BAD_USER_INPUT', field: 'bots' },
      },
    ]);
    const fewer = await client.sendText(query.replace(descriptions, 'description'), { id: largeOrgId });
    expect(fewer.errors).toBeUndefined();
  });

  test.each([
    ['nodes', (texts: string) => `nodes { ${texts} }`],
    ['edges', (texts: string) => `edges { node { ${texts} } }`],
  ])('the texts of messages count by their length in %s', async (_what, inside) => {
    const orgId = await addOrganization(fixture.database.sql);
    const [botId] = (await addBots(fixture.database.sql, orgId, 1)) as [string];
    await fixture.database.sql`insert into messages (bot_id, conversation_id, contact_id, direction, text)
      select ${botId}, 'c', 'p', 'INBOUND', repeat('x', 8000) from generate_series(1, 100)`;
    const client = await member(orgId);
    const ask = async (count: number) => {
      const texts = Array.from({ length: count }, (_, i) => `t${i}: text`).join(' ');
      return await client.sendText(
        `query ($id: ID!) { bot(id: $id) { messages(first: 100) { ${inside(texts)} } } }`,
        {
          id: botId,
        },
      );
    };
    expect((await ask(50)).errors).toMatchObject([
      { message: expect.stringMatching(/larger than 20 MB/), path: ['bot', 'messages', _what] },
    ]);
    expect((await ask(20)).errors).toBeUndefined();
  });

  test('fields that a directive excludes do not count', async () => {
    const client = await member(largeOrgId);
    const aliases = Array.from({ length: 55 }, (_, i) => `a${i}: name`).join(' ');
    const query = `query ($id: ID!, $all: Boolean!) { organization(id: $id) { bots { id ... @include(if: $all) { ${aliases} } } } }`;
    expect((await client.sendText(query, { id: largeOrgId, all: false })).errors).toBeUndefined();
    expect((await client.sendText(query, { id: largeOrgId, all: true })).errors).toMatchObject([
      { extensions: { code: 'BAD_USER_INPUT' } },
    ]);
  });

  test('a long list yields to the event loop after every hundred items', async () => {
    const schema: GraphQLSchema = buildSchema('type Item { n: Int } type Query { items: [Item!]! }');
    let turn = 0;
    const perTurn = new Map<number, number>();
    const item = schema.getType('Item') as unknown as {
      getFields(): Record<string, { resolve: (source: { n: number }) => number }>;
    };
    (item.getFields().n as { resolve: unknown }).resolve = ({ n }: { n: number }) => {
      perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1);
      return n;
    };
    chargeLists(schema);
    let running = true;
    const next = () => {
      turn++;
      if (running) setImmediate(next);
    };
    setImmediate(next);
    const result = await execute({
      schema,
      document: parse('{ items { n } }'),
      rootValue: { items: Array.from({ length: 1_050 }, (_, n) => ({ n })) },
      contextValue: { answerBudget: new AnswerBudget(1_000_000) },
    });
    running = false;
    expect((result.data as { items: { n: number }[] }).items.map(({ n }) => n)).toEqual(
      Array.from({ length: 1_050 }, (_, n) => n),
    );
    expect(Math.max(...perTurn.values())).toBeLessThanOrEqual(100);
  });
});

describe('an answer that turns out larger than the limit', () => {
  test('is replaced by an error that says so', async () => {
    const fixture = await createFixture({ RESPONSE_LIMIT_MB: '1' });
    try {
      const [botId] = await addBots(fixture.database.sql, fixture.orgId, 1);
      // JSON writes a control character in six, so this is far longer than the text was.
      await fixture.database.sql`update bots set description = repeat(chr(1), 2000)`;
      const aliases = Array.from({ length: 58 }, (_, i) => `d${i}: description`).join(' ');
      const send = async () =>
        await fixture.viewer.sendText(
          `query ($id: ID!) { bot(id: $id) { ${aliases} } b: bot(id: $id) { ${aliases} } }`.replace(
            'b: bot',
            'bot',
          ),
          { id: botId },
        );
      for (let time = 0; time < 3; time++) {
        const { data, errors } = await send();
        expect(errors ?? data).toBeDefined();
      }
      const page = `query ($org: ID!) { bots(orgId: $org, limit: 100) { items { ${aliases} } } }`;
      await addBots(fixture.database.sql, fixture.orgId, 1);
      await fixture.database.sql`update bots set description = repeat(chr(1), 2000)`;
      const { data, errors } = await fixture.viewer.sendText(page, { org: fixture.orgId });
      expect(data).toBeNull();
      expect(errors).toMatchObject([
        { message: expect.stringMatching(/larger than 1 MB/), extensions: { code: 'BAD_USER_INPUT' } },
      ]);
    } finally {
      await fixture.close();
    }
  });
});
