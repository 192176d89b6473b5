import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import {
  DeleteBotDocument,
  MeDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** Before the server has read of it in the invalidation log, so that what it has cached still says otherwise. */
describe('a change by a caller whose membership has just been taken away in the database', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let proxy: TcpProxy;
  let app: TestApp;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    proxy = await TcpProxy.before(database.url);
    app = await startApp({ DATABASE_URL: proxy.url, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await app?.close();
    proxy?.close();
    await redis?.stop();
    await database?.drop();
  });

  type Client = ReturnType<TestApp['client']>;

  test.each<[string, (client: Client, id: string) => Promise<{ code: string }>]>([
    [
      'updateBot',
      async (client, id) => await client.failure(UpdateBotDocument, { id, input: { name: 'never' } }),
    ],
    [
      'updateBot with nothing to change',
      async (client, id) => await client.failure(UpdateBotDocument, { id, input: {} }),
    ],
    ['startBot', async (client, id) => await client.failure(StartBotDocument, { id })],
    ['stopBot of one that is stopped', async (client, id) => await client.failure(StopBotDocument, { id })],
    ['deleteBot', async (client, id) => await client.failure(DeleteBotDocument, { id })],
    [
      'recordMessages',
      async (client, id) =>
        await client.failure(RecordMessagesDocument, {
          botId: id,
          messages: [
            {
              conversationId: 'c',
              contactId: 'c',
              direction: 'INBOUND' as never,
              status: 'DELIVERED' as never,
              text: '',
            },
          ],
        }),
    ],
  ])('%s is refused, and not done', async (_name, change) => {
    const orgId = await addOrganization(database.sql);
    const user = await addUser(database.sql, { [orgId]: 'OWNER' });
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const client = app.client(user.token);
    // Until the caller comes from the cache.
    await eventually(async () => {
      app.statements.length = 0;
      await client.ask(MeDocument, {});
      return app.statements.length === 0;
    });
    const state = async () =>
      await database.sql`select * from bots left join messages on bot_id = bots.id where bots.id = ${id}`;
    const before = await state();
    const poll = proxy.hold((_text, opening) => opening.includes('invalidation log'));
    await poll.caught;
    await database.sql`delete from memberships where user_id = ${user.id}`;
    try {
      expect((await change(client, id)).code).toBe('NOT_FOUND');
      expect(await state()).toEqual(before);
    } finally {
      poll.release();
    }
  });
});
