import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { print } from 'graphql';

import {
  AddMessagesDocument,
  BotDocument,
  BotMessagesDocument,
  BotsDocument,
  BotStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  RecordMessagesDocument,
  StartBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import type { TestApp } from '../support/app.js';
import type { Client, GraphQLAnswer } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import type { TestDatabase } from '../support/services.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { startTwoServers, type TwoServers } from '../support/two-servers.js';

interface Target {
  readonly orgId: string;
  readonly id: string;
  readonly messageId: string;
}

const MESSAGE = {
  conversationId: 'c',
  contactId: 'c',
  direction: 'OUTBOUND' as never,
  status: 'DELIVERED' as never,
  text: '',
};
type Headers = Record<string, string>;

const WRITES: readonly [
  string,
  (client: Client, target: Target, headers?: Headers) => Promise<GraphQLAnswer<Record<string, unknown>>>,
][] = [
  [
    'createBot',
    async (client, { orgId }, headers) =>
      await client.send(CreateBotDocument, { input: { orgId, name: 'new' } }, headers),
  ],
  [
    'updateBot',
    async (client, { id }, headers) =>
      await client.send(UpdateBotDocument, { id, input: { name: 'new' } }, headers),
  ],
  ['startBot', async (client, { id }, headers) => await client.send(StartBotDocument, { id }, headers)],
  ['deleteBot', async (client, { id }, headers) => await client.send(DeleteBotDocument, { id }, headers)],
  [
    'recordMessages',
    async (client, { id }, headers) =>
      await client.send(RecordMessagesDocument, { botId: id, messages: [MESSAGE] }, headers),
  ],
  [
    'addMessages',
    async (client, { id }, headers) =>
      await client.send(AddMessagesDocument, { botId: id, messages: [MESSAGE] }, headers),
  ],
  [
    'updateMessageStatus',
    async (client, { messageId }, headers) =>
      await client.send(UpdateMessageStatusDocument, { id: messageId, status: 'FAILED' as never }, headers),
  ],
];

describe('a write whose connection is lost', () => {
  let servers: TwoServers | undefined;
  let database: TestDatabase;
  let app: TestApp;
  let proxy: TcpProxy;
  let other: TestApp;
  let otherProxy: TcpProxy;

  beforeAll(async () => {
    servers = await startTwoServers();
    ({ database, app, proxy, other, otherProxy } = servers);
  });

  afterAll(async () => {
    await servers?.stop();
  });

  const isLog = (opening: string): boolean => opening.includes('invalidation log');

  test.each(WRITES)(
    'between commit and reply: after %s has failed, all servers show its writes',
    async (_name, write) => {
      const orgId = await addOrganization(database.sql);
      const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
      const [id] = (await addBots(database.sql, orgId, 1)) as [string];
      const [message] = await database.sql<[{ id: string }]>`
        insert into messages (bot_id, conversation_id, contact_id, direction, status)
        values (${id}, 'c', 'c', 'OUTBOUND', 'DELIVERED') returning id`;
      const target = { orgId, id, messageId: message.id };
      const reader = other.client(token);
      const seen = async () => {
        const { bots } = await reader.ask(BotsDocument, { orgId });
        const stats = (await reader.send(BotStatsDocument, { id })).data?.botStats;
        const messages = (await reader.send(BotMessagesDocument, { id })).data?.bot?.messages.edges;
        return {
          messages: messages?.map(({ node }) => node.status),
          bot: (await reader.send(BotDocument, { id })).data?.bot?.version,
          list: bots.items.map(({ name, status }) => `${name} ${status}`),
          total: stats?.totalMessages,
          failed: stats?.failedMessages,
        };
      };
      // Wait until the other server answers from the cache.
      await eventually(async () => {
        other.statements.length = 0;
        await seen();
        return other.statements.length === 0;
      });
      const before = await seen();
      const reply = proxy.hold(
        (text, opening) => !isLog(opening) && /(INSERT 0|UPDATE|DELETE) \d/.test(text),
        'down',
      );
      const [{ xmax }] = await database.sql<
        [{ xmax: string }]
      >`select pg_snapshot_xmax(pg_current_snapshot())::text as xmax`;
      // Neither server reads the write from the log.
      const polls = [otherProxy, proxy].map((each) => each.hold((_text, opening) => isLog(opening)));
      await Promise.all(polls.map(async (poll) => await poll.caught));
      try {
        const written = write(app.client(token), target);
        await reply.caught;
        await eventually(
          async () =>
            (await database.sql`select from cache_invalidations where xid >= ${xmax}::xid8`).length > 0,
        );
        expect(await seen()).toEqual(before);
        proxy.cut();
        expect(await written).toMatchObject({ errors: [{ extensions: { code: expect.any(String) } }] });
        const after = await seen();
        expect(after).not.toEqual(before);
        if (_name === 'recordMessages' || _name === 'addMessages') {
          expect(after.messages).toEqual(['DELIVERED', 'DELIVERED']);
        }
        if (_name === 'updateMessageStatus') expect(after.messages).toEqual(['FAILED']);
        if (_name === 'updateBot') expect(after).toMatchObject({ bot: 2, list: ['new STOPPED'] });
        if (_name === 'deleteBot') expect(after).toMatchObject({ bot: undefined, list: [] });
      } finally {
        for (const poll of polls) poll.release();
        reply.release();
      }
    },
  );

  test.each(WRITES)(
    'between commit and reply, of a %s with a key: the error says so, and the repeated request gets the outcome',
    async (_name, write) => {
      const orgId = await addOrganization(database.sql);
      const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
      const [id] = (await addBots(database.sql, orgId, 1)) as [string];
      const [message] = await database.sql<[{ id: string }]>`
        insert into messages (bot_id, conversation_id, contact_id, direction, status)
        values (${id}, 'c', 'c', 'OUTBOUND', 'DELIVERED') returning id`;
      const target = { orgId, id, messageId: message.id };
      const headers = { 'idempotency-key': `key-of-${id}` };
      const isDone = (text: string, opening: string) =>
        !isLog(opening) && /(INSERT 0|UPDATE|DELETE) \d/.test(text);
      const reply = proxy.hold(isDone, 'down');
      const lost = write(app.client(token), target, headers);
      await reply.caught;
      proxy.cut();
      expect((await lost).errors).toMatchObject([
        {
          message: expect.stringContaining('with the same Idempotency-Key again'),
          extensions: { code: 'UNAVAILABLE', retryable: true, outcome: 'unknown' },
        },
      ]);
      reply.release();
      const written = async () => [
        await database.sql`select id, xmin::text from bots where org_id = ${orgId} order by id`,
        await database.sql`select id, xmin::text from messages where bot_id = ${id} order by id`,
      ];
      const before = await written();
      for (const server of [other, app]) {
        expect((await write(server.client(token), target, headers)).errors).toBeUndefined();
        expect(await written()).toEqual(before);
      }
    },
  );

  describe('after messages were recorded, before their statistics are read', () => {
    let id: string;
    let client: Client;

    /** Cuts the connection at reads of the statistics, this many times. */
    const cutReads = (times: number): (() => number) => {
      let cuts = 0;
      proxy.watch(({ direction, text, opening }) => {
        if (direction !== 'up' || isLog(opening) || cuts === times) return;
        // A prepared statement is sent without its text, but with the ids.
        if (!/select[^;]*"bot_stats"|bot_stats_by_ids/.test(text) && !text.includes(`{"${id}"}`)) return;
        cuts += 1;
        proxy.cut();
      });
      return () => cuts;
    };

    const prepare = async (): Promise<void> => {
      const orgId = await addOrganization(database.sql);
      const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
      [id] = (await addBots(database.sql, orgId, 1)) as [string];
      client = app.client(token);
    };
    const recorded = async (): Promise<number> =>
      (await database.sql`select from messages where bot_id = ${id}`).length;

    test('they are read again, and the answer is right', async () => {
      await prepare();
      const cuts = cutReads(2);
      try {
        const { recordMessages } = await client.ask(RecordMessagesDocument, {
          botId: id,
          messages: [MESSAGE],
        });
        expect(recordMessages.totalMessages).toBe(1);
        expect(cuts()).toBe(2);
        expect(await recorded()).toBe(1);
      } finally {
        proxy.watch(undefined);
      }
    });

    test.each([
      ['recordMessages', RecordMessagesDocument],
      ['addMessages', AddMessagesDocument],
    ] as const)(
      'if that fails, the error of %s says that the messages were recorded, and the next read shows them',
      async (_mutation, document) => {
        await prepare();
        await eventually(
          async () => (await client.send(BotStatsDocument, { id })).data?.botStats?.totalMessages === 0,
        );
        cutReads(Infinity);
        try {
          const { errors } = await client.sendText(print(document), { botId: id, messages: [MESSAGE] });
          expect(errors).toMatchObject([
            { extensions: { code: 'UNAVAILABLE', recorded: true, retryable: false } },
          ]);
          expect(JSON.stringify(errors)).not.toMatch(/CONNECTION|127\.0\.0\.1/);
        } finally {
          proxy.watch(undefined);
        }
        expect(await recorded()).toBe(1);
        await eventually(
          async () => (await client.send(BotStatsDocument, { id })).data?.botStats?.totalMessages === 1,
        );
      },
    );
  });
});
