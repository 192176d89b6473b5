import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { connectDatabase } from '../../src/db/client.js';
import { AuditLogRepository } from '../../src/audit/audit-log.repository.js';
import {
  AddMessagesDocument,
  AuditLogDocument,
  CreateBotDocument,
  DeleteBotDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import type { Client } from '../support/client.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

const MESSAGE = {
  conversationId: 'conversation',
  contactId: 'contact',
  direction: 'OUTBOUND',
  status: 'PENDING',
  text: 'Hello',
} as const;

describe('the audit log', () => {
  let fixture: Fixture;

  beforeAll(async () => {
    fixture = await createFixture();
  });

  afterAll(async () => {
    await fixture?.close();
  });

  /** An organization of its own with an owner, for a test that counts entries. */
  const newOrganization = async (bots = 1) => {
    const { sql } = fixture.database;
    const orgId = await addOrganization(sql);
    const { id: userId, token } = await addUser(sql, { [orgId]: 'OWNER' });
    return { orgId, userId, owner: fixture.app.client(token), botIds: await addBots(sql, orgId, bots) };
  };

  const read = async (client: Client, id: string, page: { first?: number; after?: string | null } = {}) => {
    const { organization } = await client.ask(AuditLogDocument, { id, ...page });
    if (!organization) throw new Error('The organization is missing');
    return organization.auditLog;
  };

  test('has an entry for each change, with who, what, when, the request and its key', async () => {
    const { orgId, userId, owner } = await newOrganization();
    const startedAt = Date.now();
    const key = randomUUID();
    const { data } = await owner.send(
      CreateBotDocument,
      { input: { orgId, name: 'a' } },
      { 'idempotency-key': key, 'x-request-id': 'the-request' },
    );
    const id = data?.createBot.id ?? '';
    await owner.ask(UpdateBotDocument, { id, input: { name: 'b' } });
    await owner.ask(StartBotDocument, { id });
    await owner.ask(StopBotDocument, { id });
    await owner.ask(RecordMessagesDocument, { botId: id, messages: [MESSAGE, MESSAGE] });
    const { addMessages } = await owner.ask(AddMessagesDocument, { botId: id, messages: [MESSAGE] });
    const messageId = addMessages.messages[0]?.id ?? '';
    await owner.ask(UpdateMessageStatusDocument, { id: messageId, status: 'DELIVERED' });
    await owner.ask(DeleteBotDocument, { id });

    const { nodes } = await read(owner, orgId);
    expect(nodes.toReversed()).toMatchObject([
      { mutation: 'createBot', entityIds: [id], idempotencyKey: key, requestId: 'the-request' },
      { mutation: 'updateBot', entityIds: [id], idempotencyKey: null },
      { mutation: 'startBot', entityIds: [id] },
      { mutation: 'stopBot', entityIds: [id] },
      { mutation: 'recordMessages', entityIds: [id, expect.any(String), expect.any(String)] },
      { mutation: 'addMessages', entityIds: [id, messageId] },
      { mutation: 'updateMessageStatus', entityIds: [id, messageId] },
      { mutation: 'deleteBot', entityIds: [id] },
    ]);
    for (const entry of nodes) {
      expect(entry.userId).toBe(userId);
      expect(entry.requestId.length).toBeGreaterThan(0);
      expect(Date.parse(entry.at)).toBeGreaterThan(startedAt - 1_000);
    }
  });

  test('has none for what changes nothing, is refused, or is repeated', async () => {
    const { orgId, owner, botIds } = await newOrganization();
    const [id = ''] = botIds;
    await owner.ask(UpdateBotDocument, { id, input: {} });
    await owner.ask(StopBotDocument, { id });
    await owner.failure(UpdateBotDocument, { id, input: { name: 'x', expectedVersion: 9 } });
    await owner.failure(CreateBotDocument, { input: { orgId, name: '' } });
    await fixture.viewer.failure(StartBotDocument, { id });
    expect((await read(owner, orgId)).nodes).toEqual([]);
    const headers = { 'idempotency-key': randomUUID() };
    for (let i = 0; i < 3; i++) await owner.send(StartBotDocument, { id }, headers);
    expect((await read(owner, orgId)).nodes).toMatchObject([{ mutation: 'startBot' }]);
  });

  test('is read page by page, newest first, while entries are added', async () => {
    const { orgId, owner, botIds } = await newOrganization(5);
    for (const id of botIds) await owner.ask(StartBotDocument, { id });
    const expected = botIds.toReversed();
    const first = await read(owner, orgId, { first: 2 });
    expect(first.nodes.map(({ entityIds: [id] }) => id)).toEqual(expected.slice(0, 2));
    expect(first.edges.map(({ node }) => node)).toEqual(first.nodes);
    expect(first.pageInfo).toEqual({
      hasNextPage: true,
      hasPreviousPage: false,
      startCursor: first.edges[0]?.cursor,
      endCursor: first.edges[1]?.cursor,
    });
    await owner.ask(StopBotDocument, { id: botIds[0] ?? '' });
    const second = await read(owner, orgId, { first: 2, after: first.pageInfo.endCursor ?? '' });
    expect(second.nodes.map(({ entityIds: [id] }) => id)).toEqual(expected.slice(2, 4));
    expect(second.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: true });
    const third = await read(owner, orgId, { first: 2, after: second.pageInfo.endCursor ?? '' });
    expect(third.nodes.map(({ entityIds: [id] }) => id)).toEqual(expected.slice(4));
    expect(third.pageInfo).toMatchObject({ hasNextPage: false, hasPreviousPage: true });
    const end = await read(owner, orgId, { first: 2, after: third.pageInfo.endCursor ?? '' });
    expect(end).toMatchObject({
      nodes: [],
      pageInfo: { hasNextPage: false, startCursor: null, endCursor: null },
    });
  });

  test.each([
    ['first', { first: 0 }],
    ['first', { first: 101 }],
    ['after', { after: 'nothing' }],
    ['after', { after: Buffer.from('01').toString('base64url') }],
    ['after', { after: Buffer.from('9'.repeat(19)).toString('base64url') }],
  ])('refuses an argument out of range: %s %j', async (field, page) => {
    const failure = await fixture.owner.failure(AuditLogDocument, { id: fixture.orgId, ...page });
    expect(failure).toMatchObject({ code: 'BAD_USER_INPUT', field });
  });

  test('can be read by owners only', async () => {
    const { owner, editor, viewer, orgId, app, database } = fixture;
    await owner.ask(CreateBotDocument, { input: { orgId, name: 'audited' } });
    expect((await read(owner, orgId)).nodes.length).toBeGreaterThan(0);
    for (const client of [editor, viewer]) {
      expect((await client.failure(AuditLogDocument, { id: orgId })).code).toBe('FORBIDDEN');
    }
    const outsider = app.client((await addUser(database.sql, {})).token);
    expect(await outsider.failure(AuditLogDocument, { id: orgId })).toMatchObject({
      code: 'NOT_FOUND',
      data: { organization: null },
    });
    expect((await app.client(undefined).failure(AuditLogDocument, { id: orgId })).code).toBe(
      'UNAUTHENTICATED',
    );
    expect(await outsider.failure(AuditLogDocument, { id: randomUUID() })).toMatchObject({
      code: 'NOT_FOUND',
    });
  });

  test('shows the entries of its organization alone', async () => {
    const [one, two] = [await newOrganization(), await newOrganization()];
    await one.owner.ask(StartBotDocument, { id: one.botIds[0] ?? '' });
    expect((await read(one.owner, one.orgId)).nodes).toHaveLength(1);
    expect((await read(two.owner, two.orgId)).nodes).toEqual([]);
  });

  test('is never a cached response: each answer has the entries so far', async () => {
    const { orgId, owner, botIds } = await newOrganization();
    const [id = ''] = botIds;
    const { sql } = fixture.database;
    for (let count = 0; count < 4; count++) {
      expect((await read(owner, orgId)).nodes).toHaveLength(count);
      // Not by a mutation, which outdates cached responses anyway.
      await sql`select audit_mutation(${randomUUID()}, 'startBot', ${orgId}, ${[id]}::uuid[], 'r', null)`;
    }
  });

  test('keeps entries for as many days as it is told, and removes older ones', async () => {
    const { orgId, owner, botIds } = await newOrganization(3);
    for (const id of botIds) await owner.ask(StartBotDocument, { id });
    const { sql, url } = fixture.database;
    await sql`update audit_log set at = now() - interval '91 days' where ${botIds[0] ?? ''} = any (entity_ids)`;
    await sql`update audit_log set at = now() - interval '89 days' where ${botIds[1] ?? ''} = any (entity_ids)`;
    const { db, close } = connectDatabase({ url, poolMax: 1 });
    const log = new AuditLogRepository(db);
    expect(await log.prune(90, 1_000)).toBe(1);
    expect(await log.prune(90, 1_000)).toBe(0);
    expect((await read(owner, orgId)).nodes).toHaveLength(2);
    expect(await log.prune(1, 1)).toBe(1);
    await close();
  });

  test('shows what happened to a bot that was deleted, and to its user', async () => {
    const { orgId, owner, botIds, userId } = await newOrganization();
    const { sql } = fixture.database;
    const { id: second, token } = await addUser(sql, { [orgId]: 'OWNER' });
    await owner.ask(DeleteBotDocument, { id: botIds[0] ?? '' });
    await sql`delete from users where id = ${userId}`;
    expect(second).not.toBe(userId);
    expect((await read(fixture.app.client(token), orgId)).nodes).toMatchObject([
      { mutation: 'deleteBot', userId, entityIds: botIds },
    ]);
  });
});
