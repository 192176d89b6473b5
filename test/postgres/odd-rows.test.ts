import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { BotsWithStatsDocument, OrganizationStatsDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const MAX_INT = 2_147_483_647;

describe('an unusual row written by SQL does not break the answers for its neighbours', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({ DATABASE_URL: database.url });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  test.each([
    ['infinity', '+275760-09-13T00:00:00.000Z'],
    ['-infinity', '-271821-04-20T00:00:00.000Z'],
    ['0044-03-15 12:00:00+00 BC', '-000043-03-15T12:00:00.000Z'],
    ['12026-01-31 09:30:00+00', '+012026-01-31T09:30:00.000Z'],
    ['294276-01-01 00:00:00+00', '+275760-09-13T00:00:00.000Z'],
    ['0001-01-01 00:00:00+00', '0001-01-01T00:00:00.000Z'],
  ])('created at %s', async (written, answered) => {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    await database.sql`insert into bots (org_id, name, created_at) values
      (${orgId}, 'usual', '2026-01-01T00:00:00Z'), (${orgId}, 'odd', ${written}::text::timestamptz)`;
    const { bots } = await app.client(token).ask(BotsWithStatsDocument, { orgId });
    expect(bots.items.find(({ name }) => name === 'odd')?.createdAt).toBe(answered);
    expect(bots.items.find(({ name }) => name === 'usual')?.createdAt).toBe('2026-01-01T00:00:00.000Z');
  });

  test('names of any characters', async () => {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    const names = [
      '\u{1F468}\u200D\u{1F469}\u200D\u{1F467}',
      '\u202Eright',
      '\u0001\u001F\u2028',
      '"\\{}',
      '\u0000'.replace('\u0000', '\uFFFD'),
    ];
    for (const name of names) await database.sql`insert into bots (org_id, name) values (${orgId}, ${name})`;
    const { bots } = await app.client(token).ask(BotsWithStatsDocument, { orgId });
    expect(bots.items.map(({ name }) => name).toSorted()).toEqual(names.toSorted());
  });

  test('totals beyond the range of Int, which are answered as its largest number', async () => {
    const orgId = await addOrganization(database.sql);
    const { token } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    await database.sql`insert into bots (org_id, name) values (${orgId}, 'usual'), (${orgId}, 'busy')`;
    await database.sql`update bot_stats set inbound = 3e9, outbound = 9e18, failed = -1, outbound_delivered = 8e18,
      outbound_failed = 0, conversations = 4e9, last_message_at = 'infinity'
      where bot_id = (select id from bots where org_id = ${orgId} and name = 'busy')`;
    await database.sql`update bot_counts set total = 5e9 where org_id = ${orgId}`;
    const { organization } = await app.client(token).ask(OrganizationStatsDocument, { id: orgId });
    expect(organization?.stats).toMatchObject({ bots: MAX_INT, totalMessages: MAX_INT, failedMessages: 0 });
    expect(new Date(organization?.stats.lastMessageAt ?? '').getTime()).toBe(8.64e15);
    const { bots } = await app.client(token).ask(BotsWithStatsDocument, { orgId });
    expect(bots.total).toBe(MAX_INT);
    expect(bots.items.find(({ name }) => name === 'usual')?.stats.totalMessages).toBe(0);
    expect(bots.items.find(({ name }) => name === 'busy')?.stats).toMatchObject({
      totalMessages: MAX_INT,
      inboundMessages: MAX_INT,
      failedMessages: 0,
      successRate: 1,
    });
  });

  describe('a total beyond the range of Int', () => {
    const MESSAGE = 'conversationId: "c", contactId: "p", direction: INBOUND, status: DELIVERED, text: ""';

    const busyBot = async (inbound: number) => {
      const orgId = await addOrganization(database.sql);
      const { token } = await addUser(database.sql, { [orgId]: 'EDITOR' });
      const [row] = await database.sql<[{ id: string }]>`
        insert into bots (org_id, name) values (${orgId}, 'busy') returning id`;
      await database.sql`update bot_stats set inbound = ${inbound}, failed = 7 where bot_id = ${row.id}`;
      const ask = async (query: string) =>
        await app.client(token).sendText(query.replaceAll('$id', `"${row.id}"`));
      return { ask, orgId };
    };

    test('makes only `botStats` fail, with an error that names the number', async () => {
      const { ask } = await busyBot(3e9);
      const { data, errors } = await ask(
        '{ botStats(id: $id) { failedMessages totalMessages } rest: botStats(id: $id) { failedMessages } bot(id: $id) { name } }',
      );
      expect(data).toEqual({ botStats: null, rest: { failedMessages: 7 }, bot: { name: 'busy' } });
      expect(errors).toMatchObject([
        {
          message: expect.stringMatching(/totalMessages is 3000000000.*2147483647/),
          path: ['botStats', 'totalMessages'],
          extensions: { code: 'OUT_OF_RANGE', field: 'totalMessages', value: 3e9 },
        },
      ]);
    });

    test('is answered as the nearest number where an error would void a bot, its details, a page or a mutation', async () => {
      const { ask, orgId } = await busyBot(3e9);
      const { data, errors } = await ask(`{ bots(orgId: "${orgId}") { items { stats { totalMessages } } }
        bot(id: $id) { stats { totalMessages } } botDetails(id: $id) { stats { totalMessages } } }`);
      expect(errors).toBeUndefined();
      const stats = { totalMessages: MAX_INT };
      expect(data).toEqual({ bots: { items: [{ stats }] }, bot: { stats }, botDetails: { stats } });
      const recorded = await ask(
        `mutation { recordMessages(botId: $id, messages: [{ ${MESSAGE} }]) { totalMessages } }`,
      );
      expect(recorded).toMatchObject({ data: { recordMessages: stats } });
      expect(recorded.errors).toBeUndefined();
    });

    test('is exact up to the largest Int', async () => {
      const { ask } = await busyBot(MAX_INT);
      const { data, errors } = await ask('{ botStats(id: $id) { totalMessages } }');
      expect(errors).toBeUndefined();
      expect(data).toEqual({ botStats: { totalMessages: MAX_INT } });
    });
  });
});
