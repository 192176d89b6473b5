import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { BotDocument, StartBotDocument, UpdateBotDocument } from '../generated/graphql.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startTwoServers, type TwoServers } from '../support/two-servers.js';

let servers: TwoServers;

beforeAll(async () => {
  servers = await startTwoServers();
}, 60_000);
afterAll(async () => {
  await servers?.stop();
});

/** The connection that reads the invalidation log says so when it is opened. */
const isLog = (opening: string) => opening.includes('invalidation log');

test.each<[string, (client: Client, id: string) => Promise<{ name: string }>]>([
  [
    'updateBot',
    async (client, id) =>
      (await client.ask(UpdateBotDocument, { id, input: { description: 'by a mutation' } })).updateBot,
  ],
  ['startBot', async (client, id) => (await client.ask(StartBotDocument, { id })).startBot],
])(
  'after %s has shown what a transaction changed that it waited for, no server shows anything else from before it',
  async (_name, mutate) => {
    const { database, app, proxy, other, otherProxy } = servers;
    const orgId = await addOrganization(database.sql);
    const ids = await addBots(database.sql, orgId, 2);
    const [first, second] = ids as [string, string];
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const nameOf = async (id: string) => (await other.client(token).ask(BotDocument, { id })).bot?.name;
    // Wait until the other server answers from the cache.
    await eventually(async () => {
      other.statements.length = 0;
      await nameOf(second);
      return other.statements.length === 0;
    });
    const before = await nameOf(second);
    // Neither server reads the log.
    const polls = [proxy, otherProxy].map((each) => each.hold((_text, opening) => isLog(opening)));
    await Promise.all(polls.map(async (poll) => await poll.caught));
    try {
      const session = await database.sql.reserve();
      await session`begin`;
      await session`update bots set name = 'by a transaction' where id = any (${ids}::uuid[])`;
      const mutated = mutate(app.client(token), first);
      await eventually(async () => {
        const waiting =
          await database.sql`select from pg_locks where not granted and locktype = 'transactionid'`;
        return waiting.length > 0;
      });
      expect(await nameOf(second)).toBe(before);
      await session`commit`;
      session.release();
      expect((await mutated).name).toBe('by a transaction');
      expect(await nameOf(second)).toBe('by a transaction');
    } finally {
      for (const poll of polls) poll.release();
    }
  },
  30_000,
);
