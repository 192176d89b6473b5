import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

let database: TestDatabase;
let redis: RedisService;
let proxy: TcpProxy;
let app: TestApp;
let other: TestApp;
let orgId: string;
let token: string;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  orgId = await addOrganization(database.sql);
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
  proxy = await TcpProxy.before(database.url);
  const settings = { REDIS_URL: redis.url };
  app = await startApp({ ...settings, DATABASE_URL: proxy.url });
  other = await startApp({ ...settings, DATABASE_URL: database.url });
});

afterAll(async () => {
  await Promise.all([app?.close(), other?.close()]);
  proxy?.close();
  await redis?.stop();
  await database?.drop();
});

test('statistics that are read while their bot is deleted do not say that it has no messages', async () => {
  const [botId] = (await addBots(database.sql, orgId, 1)) as [string];
  await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction, status, text)
    values (${botId}, 'a conversation', 'a contact', 'INBOUND', 'DELIVERED', 'a text')`;
  const statement = proxy.hold((text) => text.includes('from unnest') && text.includes('"bot_stats"'));
  const reading = app
    .client(token)
    .sendText<{ botStats: object | null }>(`{ botStats(id: "${botId}") { totalMessages } }`, {});
  await statement.caught;
  await other.client(token).sendText(`mutation { deleteBot(id: "${botId}") }`, {});
  statement.release();
  const { data, errors } = await reading;
  expect(data?.botStats).toBeNull();
  expect(errors?.map(({ extensions }) => extensions?.code)).toEqual(['NOT_FOUND']);
});
