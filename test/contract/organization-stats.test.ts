import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import {
  AddMessagesDocument,
  CreateBotDocument,
  DeleteBotDocument,
  OrganizationStatsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateMessageStatusDocument,
  type MessageInput,
} from '../generated/graphql.js';
import { countedTotals } from '../support/organization-totals.js';
import { addOrganization, addUser } from '../support/people.js';
import type { Client } from '../support/client.js';
import { askUntil, createFixture, type Fixture } from './fixture.js';

const MESSAGE: MessageInput = {
  conversationId: 'c',
  contactId: 'p',
  direction: 'OUTBOUND',
  status: 'PENDING',
  text: '',
};

let fixture: Fixture;
let orgId: string;
let owner: Client;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

beforeEach(async () => {
  orgId = await addOrganization(fixture.database.sql);
  const { token } = await addUser(fixture.database.sql, { [orgId]: 'OWNER' });
  owner = fixture.app.client(token);
});

const stats = async (id = orgId) => {
  const { organization } = await owner.ask(OrganizationStatsDocument, { id });
  const { computedAt: _, ...figures } = organization?.stats ?? { computedAt: '' };
  return figures;
};

/** The statistics as counted from the rows. */
const counted = async () => {
  const totals = (await countedTotals(fixture.database.sql)).find(({ org }) => org === orgId);
  return {
    id: orgId,
    bots: totals?.bots,
    runningBots: totals?.running,
    totalMessages: totals?.messages,
    failedMessages: totals?.failed,
    lastMessageAt: totals?.last ? new Date(totals.last).toISOString() : null,
  };
};

describe('Organization.stats', () => {
  test('of a new organization are zero, without a last message', async () => {
    const { organization } = await owner.ask(OrganizationStatsDocument, { id: orgId });
    expect(organization?.stats).toEqual({
      id: orgId,
      bots: 0,
      runningBots: 0,
      totalMessages: 0,
      failedMessages: 0,
      lastMessageAt: null,
      computedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
  });

  test('are current after every mutation, whatever was cached', async () => {
    const seen = [await stats()];
    const isNew = async (change: object) => {
      // Twice: once loaded, once cached.
      for (const figures of [await stats(), await stats()]) {
        expect(figures).toEqual(await counted());
        expect(figures).toMatchObject(change);
      }
      seen.push(await stats());
    };
    const { createBot } = await owner.ask(CreateBotDocument, { input: { orgId, name: 'one' } });
    await isNew({ bots: 1, runningBots: 0 });
    const { id } = createBot;
    await owner.ask(StartBotDocument, { id });
    await isNew({ runningBots: 1 });
    await owner.ask(RecordMessagesDocument, {
      botId: id,
      messages: [MESSAGE, { ...MESSAGE, status: 'FAILED' }],
    });
    await isNew({ totalMessages: 2, failedMessages: 1 });
    const { addMessages } = await owner.ask(AddMessagesDocument, { botId: id, messages: [MESSAGE] });
    await isNew({ totalMessages: 3, failedMessages: 1 });
    const { id: messageId = '' } = addMessages.messages[0] ?? {};
    await owner.ask(UpdateMessageStatusDocument, { id: messageId, status: 'FAILED' });
    await isNew({ totalMessages: 3, failedMessages: 2 });
    await owner.ask(StopBotDocument, { id });
    await isNew({ runningBots: 0 });
    await owner.ask(StartBotDocument, { id });
    await owner.ask(DeleteBotDocument, { id });
    await isNew({ bots: 0, runningBots: 0, totalMessages: 0, failedMessages: 0, lastMessageAt: null });
    expect(new Set(seen.map((each) => JSON.stringify(each))).size).toBeGreaterThan(6);
  });

  test('of several organizations are read by one statement, each for its own organization', async () => {
    const { sql } = fixture.database;
    const other = await addOrganization(sql);
    const { token } = await addUser(sql, { [orgId]: 'VIEWER', [other]: 'VIEWER' });
    await sql`insert into bots (org_id, name, status) values (${orgId}, 'a', 'RUNNING'), (${other}, 'b', 'STOPPED'), (${other}, 'c', 'RUNNING')`;
    const client = fixture.app.client(token);
    const text = '{ me { memberships { organization { id stats { bots runningBots } } } } }';
    type Answer = { me: { memberships: { organization: { id: string; stats: object } }[] } };
    fixture.app.statements.length = 0;
    const { data } = await client.sendText<Answer>(text);
    const found = new Map(
      data?.me.memberships.map(({ organization }) => [organization.id, organization.stats]),
    );
    expect(found.get(orgId)).toEqual({ bots: 1, runningBots: 1 });
    expect(found.get(other)).toEqual({ bots: 2, runningBots: 1 });
    expect(
      fixture.app.statements.filter((statement) => statement.includes('organization_stats')),
    ).toHaveLength(1);
  });

  test('show a write by SQL within the time of the contract', async () => {
    const { sql } = fixture.database;
    await stats();
    await sql`insert into bots (org_id, name, status) select ${orgId}, 'b' || n, 'RUNNING' from generate_series(1, 70) as n`;
    await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
      select id, 'c', 'p', 'INBOUND', 'FAILED' from bots where org_id = ${orgId}`;
    const expected = await counted();
    expect(await askUntil(stats, (seen) => JSON.stringify(seen) === JSON.stringify(expected))).toEqual(
      expected,
    );
    expect(expected).toMatchObject({ bots: 70, runningBots: 70, totalMessages: 70, failedMessages: 70 });
  });
});
