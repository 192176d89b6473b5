import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { print, type DocumentNode } from 'graphql';
import { Redis } from 'ioredis';

import {
  AddMessagesDocument,
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotsWithStatsDocument,
  BotStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  OrganizationBotsDocument,
  OrganizationStatsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** Round trips to Redis by purpose, and SQL statements; an absent count is 0. */
interface Cost {
  readonly read?: number;
  readonly claim?: number;
  readonly fill?: number;
  readonly invalidate?: number;
  readonly sql?: number;
}

/** Background work of the server is not counted: `sweep`, `probe`. */
const OPERATIONS = ['read', 'claim', 'fill', 'release', 'invalidate'] as const;

/**
 * The round trips and statements of each operation of the API. The figures are exact: one more is a regression; one less is an
 * improvement to record here.
 */
describe('the number of commands, statements and round trips of an operation', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let admin: Redis;
  let app: TestApp;
  let token: string;
  let userId: string;
  let orgId: string;
  let botIds: string[];

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    admin = new Redis(redis.url);
    orgId = await addOrganization(database.sql);
    botIds = await addBots(database.sql, orgId, 30);
    ({ id: userId, token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await app?.close();
    admin?.disconnect();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    await admin.flushall();
  });

  const roundTrips = async (): Promise<number[]> =>
    await Promise.all(
      OPERATIONS.map(async (operation) => await app.metric('flovo_redis_round_trips_total', { operation })),
    );

  /** Sends an operation, waits for its fills, and counts. */
  const costOf = async (
    text: string,
    variables: unknown,
    headers?: Record<string, string>,
  ): Promise<Cost> => {
    const before = await roundTrips();
    app.statements.length = 0;
    const { errors } = await app.client(token).sendText(text, variables, headers);
    expect(errors).toBeUndefined();
    await eventually(async () => (await admin.keys('*:lock')).length === 0);
    const after = await roundTrips();
    const counts = OPERATIONS.map((name, i) => [name, (after[i] ?? 0) - (before[i] ?? 0)] as const);
    return Object.fromEntries([...counts, ['sql', app.statements.length] as const].filter(([, n]) => n > 0));
  };

  interface Query {
    readonly name: string;
    readonly document: DocumentNode;
    readonly variables: () => unknown;
    /**
     * Nothing is cached, not even the caller. Values that were never looked up are claimed in the round trip that reads
     * them; those of earlier tests take another one.
     */
    readonly cold: Cost;
    /** Every value is cached, but not the response. */
    readonly warm: Cost;
  }

  const queries: readonly Query[] = [
    {
      name: 'me',
      document: MeDocument,
      variables: () => ({}),
      cold: { read: 2, fill: 2, sql: 2 },
      warm: { read: 2 },
    },
    {
      name: 'bot',
      document: BotDocument,
      variables: () => ({ id: botIds[0] }),
      cold: { read: 2, claim: 2, fill: 3, sql: 3 },
      warm: { read: 2 },
    },
    {
      name: 'botDetails',
      document: BotDetailsDocument,
      variables: () => ({ id: botIds[1] }),
      cold: { read: 1, claim: 1, fill: 2, sql: 2 },
      warm: { read: 1 },
    },
    {
      name: 'botStats',
      document: BotStatsDocument,
      variables: () => ({ id: botIds[2] }),
      cold: { read: 1, claim: 1, fill: 3, sql: 3 },
      warm: { read: 1 },
    },
    {
      name: 'bots',
      document: BotsDocument,
      variables: () => ({ orgId }),
      cold: { read: 1, claim: 1, fill: 2, sql: 2 },
      warm: { read: 1 },
    },
    {
      name: 'bots that are searched',
      document: BotsDocument,
      variables: () => ({ orgId, search: 'bot 1' }),
      cold: { read: 1, claim: 1, fill: 1, sql: 2 },
      warm: { read: 1 },
    },
    {
      name: 'bots with statistics',
      document: BotsWithStatsDocument,
      variables: () => ({ orgId }),
      cold: { read: 2, claim: 2, fill: 3, sql: 3 },
      warm: { read: 1 },
    },
    {
      name: 'organization with its bots',
      document: OrganizationBotsDocument,
      variables: () => ({ id: orgId }),
      cold: { read: 2, claim: 2, fill: 3, sql: 3 },
      warm: { read: 2 },
    },
    {
      name: 'organization with its statistics',
      document: OrganizationStatsDocument,
      variables: () => ({ id: orgId }),
      cold: { read: 2, claim: 2, fill: 3, sql: 3 },
      warm: { read: 2 },
    },
  ];

  test.each(queries)(
    '$name: cold, with cached values, repeated',
    async ({ document, variables, cold, warm }) => {
      const text = print(document);
      expect(await costOf(text, variables())).toEqual(cold);
      // An undeclared variable changes only the key of the response, so no cached response is used.
      const variant = (unused: number) => ({ ...(variables() as object), unused });
      // A search is stored only now. From now on this process knows the document, and what to expect on a page.
      await costOf(text, variant(1));
      expect(await costOf(text, variant(2))).toEqual(warm);
      expect(await costOf(text, variables())).toEqual({ read: 1 });
    },
  );

  test('a search of bots that nobody has looked up stores neither its page nor their statistics', async () => {
    const otherOrg = await addOrganization(database.sql, 'Searched');
    await addBots(database.sql, otherOrg, 30);
    await database.sql`
      insert into memberships (user_id, org_id, role) values (${userId}, ${otherOrg}, 'VIEWER')`;
    await costOf('{ me { id } }', {});
    const search = async (text: string) =>
      await costOf(print(BotsWithStatsDocument), { orgId: otherOrg, search: text });
    expect(await search('bot')).toEqual({ read: 2, sql: 2 });
    // The page of another search with the same bots: it is new, but their statistics are not.
    expect(await search('BOT ')).toEqual({ read: 2, claim: 1, fill: 1, sql: 2 });
    expect(await search('ot')).toEqual({ read: 2, sql: 1 });
  });

  const message = {
    conversationId: 'conversation',
    contactId: 'someone',
    direction: 'OUTBOUND',
    status: 'PENDING',
    text: 'hello',
  } as const;

  interface Mutation {
    readonly name: string;
    readonly document: DocumentNode;
    readonly variables: () => unknown;
    readonly cost: Cost;
  }

  const mutations: readonly Mutation[] = [
    {
      name: 'createBot',
      document: CreateBotDocument,
      variables: () => ({ input: { orgId, name: 'new' } }),
      cost: { invalidate: 1, sql: 1 },
    },
    {
      name: 'updateBot',
      document: UpdateBotDocument,
      variables: () => ({ id: botIds[3], input: { name: 'renamed' } }),
      cost: { invalidate: 1, sql: 1 },
    },
    {
      name: 'startBot',
      document: StartBotDocument,
      variables: () => ({ id: botIds[4] }),
      cost: { invalidate: 1, sql: 1 },
    },
    {
      // It reads the bot and the caller from the database, to find why nothing was changed.
      name: 'startBot of one that runs',
      document: StartBotDocument,
      variables: () => ({ id: botIds[4] }),
      cost: { sql: 3 },
    },
    {
      name: 'stopBot',
      document: StopBotDocument,
      variables: () => ({ id: botIds[4] }),
      cost: { invalidate: 1, sql: 1 },
    },
    {
      name: 'deleteBot',
      document: DeleteBotDocument,
      variables: () => ({ id: botIds[5] }),
      cost: { invalidate: 1, sql: 1 },
    },
    {
      name: 'recordMessages',
      document: RecordMessagesDocument,
      variables: () => ({ botId: botIds[6], messages: [message, message] }),
      cost: { invalidate: 1, sql: 2 },
    },
    {
      // The bot is read as well, through the cache.
      name: 'addMessages',
      document: AddMessagesDocument,
      variables: () => ({ botId: botIds[8], messages: [message, message] }),
      cost: { invalidate: 1, read: 1, fill: 1, sql: 3 },
    },
  ];

  test('a mutation with an idempotency key: as much as without; a repeated one looks for the outcome', async () => {
    const headers = { 'idempotency-key': 'budget' };
    const create = async () =>
      await costOf(print(CreateBotDocument), { input: { orgId, name: 'once' } }, headers);
    expect(await create()).toEqual({ invalidate: 1, sql: 1 });
    // The write that was refused, the outcome, and the caller's role.
    expect(await create()).toEqual({ invalidate: 1, sql: 3 });
    const remove = async () =>
      await costOf(
        print(DeleteBotDocument),
        { id: botIds[9] },
        { 'idempotency-key': 'budget-of-a-deletion' },
      );
    expect(await remove()).toEqual({ invalidate: 1, sql: 1 });
    expect(await remove()).toEqual({ invalidate: 1, sql: 3 });
  });

  test.each(mutations)('$name, with a caller who is cached', async ({ document, variables, cost }) => {
    await costOf('{ me { id } }', {});
    expect(await costOf(print(document), variables())).toEqual(cost);
  });

  test('updateMessageStatus, with a caller who is cached', async () => {
    const [row] = await database.sql<[{ id: string }]>`
      insert into messages (bot_id, conversation_id, contact_id, direction)
      values (${botIds[7] ?? ''}, 'c', 'c', 'OUTBOUND') returning id`;
    await costOf('{ me { id } }', {});
    const variables = { id: row.id, status: 'DELIVERED' };
    expect(await costOf(print(UpdateMessageStatusDocument), variables)).toEqual({ invalidate: 1, sql: 2 });
  });
});
