import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import {
  AddMessagesDocument,
  BotDocument,
  BotsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  MeDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
  UpdateMessageStatusDocument,
} from '../generated/graphql.js';
import type { TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import type { TestDatabase } from '../support/services.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import { startTwoServers, type TwoServers } from '../support/two-servers.js';

const MESSAGE = {
  conversationId: 'c',
  contactId: 'c',
  direction: 'INBOUND' as never,
  status: 'DELIVERED' as never,
  text: '',
};

interface Target {
  readonly orgId: string;
  readonly id: string;
  readonly messageId: string;
}

const CHANGES: readonly [string, (client: Client, target: Target) => Promise<{ code: string }>][] = [
  [
    'createBot',
    async (client, { orgId }) => await client.failure(CreateBotDocument, { input: { orgId, name: 'never' } }),
  ],
  [
    'updateBot',
    async (client, { id }) => await client.failure(UpdateBotDocument, { id, input: { name: 'never' } }),
  ],
  [
    'updateBot with nothing to change',
    async (client, { id }) => await client.failure(UpdateBotDocument, { id, input: {} }),
  ],
  [
    'updateBot of another version',
    async (client, { id }) =>
      await client.failure(UpdateBotDocument, { id, input: { name: 'never', expectedVersion: 99 } }),
  ],
  ['startBot', async (client, { id }) => await client.failure(StartBotDocument, { id })],
  ['stopBot of one that is stopped', async (client, { id }) => await client.failure(StopBotDocument, { id })],
  ['deleteBot', async (client, { id }) => await client.failure(DeleteBotDocument, { id })],
  [
    'recordMessages',
    async (client, { id }) =>
      await client.failure(RecordMessagesDocument, { botId: id, messages: [MESSAGE] }),
  ],
  [
    'addMessages',
    async (client, { id }) => await client.failure(AddMessagesDocument, { botId: id, messages: [MESSAGE] }),
  ],
  [
    'updateMessageStatus',
    async (client, { messageId }) =>
      await client.failure(UpdateMessageStatusDocument, { id: messageId, status: 'FAILED' as never }),
  ],
];

/** The mutations come before any server has read the change in the invalidation log, so cached values are outdated. */
describe('a mutation that PostgreSQL refuses, although the cached role allows it', () => {
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

  interface Fixture extends Target {
    readonly userId: string;
    readonly token: string;
    readonly client: Client;
  }

  const prepare = async (): Promise<Fixture> => {
    const orgId = await addOrganization(database.sql);
    const { id: userId, token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const [message] = await database.sql<[{ id: string }]>`
      insert into messages (bot_id, conversation_id, contact_id, direction) values (${id}, 'c', 'c', 'OUTBOUND') returning id`;
    return { orgId, id, messageId: message.id, userId, token, client: app.client(token) };
  };
  /** Reads until every answer comes from the cache. */
  const warm = async (views: () => Promise<unknown>): Promise<void> => {
    await eventually(async () => {
      app.statements.length = 0;
      other.statements.length = 0;
      await views();
      return app.statements.length + other.statements.length === 0;
    });
  };
  const isPoll = (_text: string, opening: string) => opening.includes('invalidation log');
  const state = async (orgId: string) =>
    await database.sql`select * from bots left join messages on bot_id = bots.id where bots.org_id = ${orgId}`;

  test.each(CHANGES)('%s is NOT_FOUND for a former member, and is not made', async (_name, change) => {
    const fixture = await prepare();
    await warm(async () => await fixture.client.ask(MeDocument, {}));
    const before = await state(fixture.orgId);
    const poll = proxy.hold(isPoll);
    await poll.caught;
    await database.sql`delete from memberships where user_id = ${fixture.userId}`;
    try {
      expect((await change(fixture.client, fixture)).code).toBe('NOT_FOUND');
      expect(await state(fixture.orgId)).toEqual(before);
    } finally {
      poll.release();
    }
  });

  test.each(CHANGES)(
    '%s is FORBIDDEN for a user who has become a VIEWER, and is not made',
    async (_name, change) => {
      const fixture = await prepare();
      await warm(async () => await fixture.client.ask(MeDocument, {}));
      const before = await state(fixture.orgId);
      const poll = proxy.hold(isPoll);
      await poll.caught;
      await database.sql`update memberships set role = 'VIEWER' where user_id = ${fixture.userId}`;
      try {
        expect((await change(fixture.client, fixture)).code).toBe('FORBIDDEN');
        expect(await state(fixture.orgId)).toEqual(before);
      } finally {
        poll.release();
      }
    },
  );

  test('is UNAUTHENTICATED for a user who has been deleted', async () => {
    const fixture = await prepare();
    await warm(async () => await fixture.client.ask(MeDocument, {}));
    const poll = proxy.hold(isPoll);
    await poll.caught;
    await database.sql`delete from users where id = ${fixture.userId}`;
    try {
      for (const [, change] of CHANGES) {
        expect((await change(fixture.client, fixture)).code).toBe('UNAUTHENTICATED');
      }
    } finally {
      poll.release();
    }
  });

  /** Neither server learns of a change from the invalidation log: one that does tells the other through Redis. */
  const holdPolls = async () => {
    const [poll, otherPoll] = [proxy.hold(isPoll), otherProxy.hold(isPoll)];
    await Promise.all([poll.caught, otherPoll.caught]);
    return {
      /** For the mutation, which reads the log itself. */
      releaseFirst: () => poll.release(),
      release() {
        poll.release();
        otherPoll.release();
      },
    };
  };

  const roles = async (client: Client) =>
    (await client.ask(MeDocument, {})).me.memberships.map(({ role }) => role as string);
  const names = async (client: Client, { orgId, id }: Target) => ({
    bot: (await client.send(BotDocument, { id })).data?.bot?.name,
    list: (await client.ask(BotsDocument, { orgId })).bots.items.map(({ name }) => name),
  });

  test.each(CHANGES)(
    'after %s no server shows the former membership or responses cached under it',
    async (_name, change) => {
      const fixture = await prepare();
      const reader = other.client(fixture.token);
      await warm(async () => await roles(reader));
      const polls = await holdPolls();
      await database.sql`update memberships set role = 'VIEWER' where user_id = ${fixture.userId}`;
      try {
        expect(await roles(reader)).toEqual(['OWNER']);
        polls.releaseFirst();
        await change(fixture.client, fixture);
        expect(await roles(reader)).toEqual(['VIEWER']);
      } finally {
        polls.release();
      }
    },
  );

  test.each(CHANGES.filter(([name]) => !/createBot|MessageStatus/.test(name)))(
    'after %s of a deleted bot no server shows the bot',
    async (_name, change) => {
      const fixture = await prepare();
      const reader = other.client(fixture.token);
      await warm(async () => await names(reader, fixture));
      const polls = await holdPolls();
      await database.sql`delete from bots where id = ${fixture.id}`;
      try {
        expect(await names(reader, fixture)).toEqual({ bot: 'bot 1', list: ['bot 1'] });
        polls.releaseFirst();
        expect((await change(fixture.client, fixture)).code).toBe('NOT_FOUND');
        expect(await names(reader, fixture)).toEqual({ bot: undefined, list: [] });
      } finally {
        polls.release();
      }
    },
  );

  test('after a CONFLICT, or startBot of a running bot, no server shows an older state', async () => {
    const fixture = await prepare();
    const reader = other.client(fixture.token);
    const version = async () => (await reader.ask(BotDocument, { id: fixture.id })).bot?.version;
    await warm(version);
    const polls = await holdPolls();
    await database.sql`update bots set name = 'newer' where id = ${fixture.id}`;
    try {
      expect(await version()).toBe(1);
      polls.releaseFirst();
      const input = { name: 'x', expectedVersion: 1 };
      expect((await fixture.client.failure(UpdateBotDocument, { id: fixture.id, input })).code).toBe(
        'CONFLICT',
      );
      expect(await version()).toBe(2);
      await database.sql`update bots set status = 'RUNNING' where id = ${fixture.id}`;
      expect(await version()).toBe(2);
      expect((await fixture.client.ask(StartBotDocument, { id: fixture.id })).startBot.version).toBe(3);
      expect(await version()).toBe(3);
    } finally {
      polls.release();
    }
  });
});
