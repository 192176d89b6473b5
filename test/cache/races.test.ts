import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import {
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotStatsDocument,
  BotsWithStatsDocument,
  CreateBotDocument,
  DeleteBotDocument,
  OrganizationBotsDocument,
  RecordMessagesDocument,
  StartBotDocument,
  StopBotDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { standalone } from '../support/topology.js';
import { describeRaces } from './race-cases.js';

describeRaces('standalone', standalone);

const READERS = 14;
const WRITERS = 3;
const OPERATIONS = 2_000;

interface SeenBot {
  readonly id: string;
  readonly version: number;
}
interface SeenStats {
  readonly botId: string;
  readonly totalMessages: number;
}
interface Seen {
  readonly bots?: readonly SeenBot[];
  readonly stats?: readonly SeenStats[];
  /** Whether `bots` must be complete. */
  readonly complete?: boolean;
}

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;

/** Records answered mutations, and checks that each read shows those that were answered before it began. */
class Checker {
  readonly stale: string[] = [];
  readonly seen: Record<string, number> = {};
  private readonly versions: Map<string, number>;
  private readonly totals: Map<string, number>;

  constructor(readonly ids: readonly string[]) {
    this.versions = new Map(ids.map((id) => [id, 1]));
    this.totals = new Map(ids.map((id) => [id, 0]));
  }

  answered({ id, version }: SeenBot): void {
    this.versions.set(id, Math.max(version, this.versions.get(id) ?? 0));
  }

  counted({ botId, totalMessages }: SeenStats): void {
    this.totals.set(botId, Math.max(totalMessages, this.totals.get(botId) ?? 0));
  }

  async watch(what: string, read: () => Promise<Seen>): Promise<void> {
    const versions = new Map(this.versions);
    const totals = new Map(this.totals);
    const { bots = [], stats = [], complete = false } = await read();
    this.seen[what] = (this.seen[what] ?? 0) + bots.length + stats.length;
    const found = new Set<string>();
    for (const { id, version } of bots) {
      found.add(id);
      const floor = versions.get(id) ?? 0;
      if (version < floor) this.stale.push(`${what}: ${id} at version ${version}, answered ${floor}`);
    }
    for (const { botId, totalMessages } of stats) {
      const floor = totals.get(botId) ?? 0;
      if (totalMessages < floor)
        this.stale.push(`${what}: ${botId} with ${totalMessages} messages, answered ${floor}`);
    }
    if (!complete) return;
    for (const id of this.ids) if (!found.has(id)) this.stale.push(`${what}: ${id} is missing`);
  }
}

describe('two servers on one Redis, with readers and writers at the same time', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let apps: TestApp[];
  let clients: Client[];
  let orgId: string;
  let checker: Checker;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    checker = new Checker(await addBots(database.sql, orgId, 3));
    await database.sql`update bots set name = 'bot, lasting'`;
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const settings = { DATABASE_URL: database.url, REDIS_URL: redis.url, REDIS_TIMEOUT_MS: '5000' };
    apps = await Promise.all([startApp(settings), startApp(settings)]);
    clients = apps.map((app) => app.client(token));
  });

  afterAll(async () => {
    await Promise.all((apps ?? []).map(async (app) => await app.close()));
    await redis?.stop();
    await database?.drop();
  });

  const reads: Record<string, (client: Client) => Promise<Seen>> = {
    bot: async (client) => {
      const { bot } = await client.ask(BotDocument, { id: any(checker.ids) });
      return { bots: bot ? [bot] : [] };
    },
    details: async (client) => {
      const { botDetails } = await client.ask(BotDetailsDocument, { id: any(checker.ids) });
      return botDetails ? { bots: [botDetails.bot], stats: [botDetails.stats] } : {};
    },
    stats: async (client) => {
      const { botStats } = await client.ask(BotStatsDocument, { id: any(checker.ids) });
      return { stats: botStats ? [botStats] : [] };
    },
    list: async (client) => {
      const { bots } = await client.ask(BotsDocument, { orgId, limit: 100 });
      return { bots: bots.items, complete: true };
    },
    search: async (client) => {
      const { bots } = await client.ask(BotsDocument, { orgId, limit: 100, search: 'BOT' });
      return { bots: bots.items, complete: true };
    },
    listWithStats: async (client) => {
      // The search matches permanent bots only: another bot might be deleted between the page and its statistics.
      const { bots } = await client.ask(BotsWithStatsDocument, { orgId, limit: 100, search: 'lasting' });
      return { bots: bots.items, stats: bots.items.map(({ stats }) => stats), complete: true };
    },
    organization: async (client) => {
      const { organization } = await client.ask(OrganizationBotsDocument, { id: orgId });
      return { bots: organization?.bots ?? [], complete: true };
    },
  };

  const writes: ((client: Client) => Promise<void>)[] = [
    async (client) => {
      const input = { name: `bot, lasting, ${Math.random()}` };
      checker.answered((await client.ask(UpdateBotDocument, { id: any(checker.ids), input })).updateBot);
    },
    async (client) => {
      const id = any(checker.ids);
      checker.answered((await client.ask(StartBotDocument, { id })).startBot);
      checker.answered((await client.ask(StopBotDocument, { id })).stopBot);
    },
    async (client) => {
      const message = {
        conversationId: `conversation ${Math.floor(Math.random() * 5)}`,
        contactId: 'someone',
        direction: 'INBOUND',
        status: 'DELIVERED',
        text: 'hello',
      } as const;
      const variables = { botId: any(checker.ids), messages: [message, message] };
      checker.counted((await client.ask(RecordMessagesDocument, variables)).recordMessages);
    },
    async (client) => {
      const { createBot: bot } = await client.ask(CreateBotDocument, {
        input: { orgId, name: 'passing bot' },
      });
      await expectThere(any(clients), bot.id, true);
      await client.ask(DeleteBotDocument, { id: bot.id });
      await expectThere(any(clients), bot.id, false);
    },
  ];

  /** A bot must be visible everywhere once its creation is answered, and nowhere once its deletion is. */
  const expectThere = async (client: Client, id: string, there: boolean): Promise<void> => {
    const [one, list, whole] = await Promise.all([
      client.send(BotDocument, { id }),
      client.ask(BotsDocument, { orgId, limit: 100 }),
      client.ask(OrganizationBotsDocument, { id: orgId }),
    ]);
    const views = {
      bot: one.data?.bot != null,
      list: list.bots.items.some((bot) => bot.id === id),
      organization: whole.organization?.bots.some((bot) => bot.id === id) === true,
    };
    for (const [view, isThere] of Object.entries(views))
      if (isThere !== there) checker.stale.push(`${view}: ${id} should ${there ? '' : 'not '}be there`);
  };

  test('a request that is sent after a mutation does not share an older check of a cached response', async () => {
    const proxy = await TcpProxy.before(redis.url);
    const { token } = await addUser(database.sql, { [orgId]: 'OWNER' });
    const app = await startApp({
      DATABASE_URL: database.url,
      REDIS_URL: proxy.url,
      REDIS_TIMEOUT_MS: '5000',
    });
    try {
      const [id] = checker.ids as [string];
      const ask = async () => (await app.client(token).ask(BotDocument, { id })).bot?.version ?? 0;
      const responseHits = async () => await app.metric('flovo_cache_hits_total', { resource: 'response' });
      const before = await eventually(async () => {
        const version = await ask();
        return (await responseHits()) > 0 ? version : false;
      });
      const release = proxy.holdReplies();
      const early = ask();
      await eventually(() => proxy.heldReplies > 0);
      const { updateBot } = await (clients[0] as Client).ask(UpdateBotDocument, {
        id,
        input: { name: `bot, lasting, ${before}` },
      });
      checker.answered(updateBot);
      const late = ask();
      // The later request has checked Redis again.
      await eventually(() => proxy.heldReplies > 1);
      release();
      await early;
      expect(await late).toBe(before + 1);
    } finally {
      await app.close();
      proxy.close();
    }
  });

  test(`no read among ${OPERATIONS} operations shows the state before an answered mutation`, async () => {
    let done = 0;
    const repeat = async (operation: () => Promise<void>): Promise<void> => {
      while (done < OPERATIONS) {
        done += 1;
        await operation();
      }
    };
    await Promise.all([
      ...Array.from({ length: READERS }, async (_, i) => {
        await repeat(async () => {
          const [what, read] = any(Object.entries(reads));
          await checker.watch(what, async () => await read(clients[i % 2] as Client));
        });
      }),
      ...Array.from({ length: WRITERS }, async (_, i) => {
        await repeat(async () => await any(writes)(clients[i % 2] as Client));
      }),
    ]);

    expect(checker.stale).toEqual([]);
    // Most reads were hits, and every kind of read took part.
    for (const resource of ['bot', 'botDetails', 'botStats', 'botPage', 'organizationBots']) {
      const hits = apps.map(async (app) => await app.metric('flovo_cache_hits_total', { resource }));
      expect(Math.min(...(await Promise.all(hits)))).toBeGreaterThan(0);
    }
    expect(Object.keys(checker.seen).sort()).toEqual(Object.keys(reads).sort());
    const [{ version }] = await database.sql<[{ version: number }]>`select max(version) as version from bots`;
    expect(version).toBeGreaterThan(20);
  }, 60_000);
});
