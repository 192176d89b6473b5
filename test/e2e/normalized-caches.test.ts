import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Client as UrqlClient, fetchExchange } from '@urql/core';
import { cacheExchange } from '@urql/exchange-graphcache';
import { getIntrospectionQuery } from 'graphql';

import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

const PAGE = gql`
  query Page($orgId: ID!) {
    bots(orgId: $orgId, limit: 5) {
      items {
        id
        name
        stats {
          id
          totalMessages
          failedMessages
        }
      }
    }
  }
`;
const DETAILS = gql`
  query Details($id: ID!) {
    botDetails(id: $id) {
      id
      bot {
        id
        name
      }
      stats {
        id
        totalMessages
      }
    }
  }
`;
const RECORD = gql`
  mutation Record($botId: ID!, $messages: [MessageInput!]!) {
    recordMessages(botId: $botId, messages: $messages) {
      id
      totalMessages
      failedMessages
    }
  }
`;
const ADD = gql`
  mutation Add($botId: ID!, $messages: [MessageInput!]!) {
    addMessages(botId: $botId, messages: $messages) {
      messages {
        id
      }
      bot {
        id
        name
      }
      stats {
        id
        totalMessages
        failedMessages
      }
    }
  }
`;
const RENAME = gql`
  mutation Rename($id: ID!, $name: String!) {
    updateBot(id: $id, input: { name: $name }) {
      id
      name
    }
  }
`;

interface Page {
  readonly bots: {
    readonly items: readonly {
      readonly id: string;
      readonly name: string;
      readonly stats: { readonly totalMessages: number; readonly failedMessages: number };
    }[];
  };
}

/** A client with a normalized cache, and how it shows a page. */
interface FrontEnd {
  /** A bot on the watched page: its name, its number of messages, and how many of them failed. */
  shown(botId: string): [string, number, number] | undefined;
  mutate(document: typeof PAGE, variables: Record<string, unknown>): Promise<void>;
  /** Reads from the client's cache alone. */
  details(id: string): { name: string; totalMessages: number } | undefined;
  readDetails(id: string): Promise<void>;
  stop(): void;
}

type Watch = (app: { url: string; token: string; fetch: typeof fetch }, orgId: string) => Promise<FrontEnd>;

const shownOf = (page: Page | undefined, botId: string): [string, number, number] | undefined => {
  const bot = page?.bots.items.find(({ id }) => id === botId);
  return bot && [bot.name, bot.stats.totalMessages, bot.stats.failedMessages];
};

interface Details {
  readonly botDetails: { readonly bot: { readonly name: string }; readonly stats: { totalMessages: number } };
}
const detailsOf = (data: Details | null | undefined) =>
  data ? { name: data.botDetails.bot.name, totalMessages: data.botDetails.stats.totalMessages } : undefined;

const watchWithApollo: Watch = async ({ url, token, fetch }, orgId) => {
  const client = new ApolloClient({
    link: new HttpLink({ uri: url, headers: { authorization: `Bearer ${token}` }, fetch }),
    cache: new InMemoryCache(),
  });
  let page: Page | undefined;
  const watching = client.watchQuery<Page>({ query: PAGE, variables: { orgId } }).subscribe(({ data }) => {
    if (data !== undefined) page = data as Page;
  });
  return {
    shown: (botId) => shownOf(page, botId),
    async mutate(mutation, variables) {
      await client.mutate({ mutation, variables });
    },
    details: (id) => detailsOf(client.readQuery<Details>({ query: DETAILS, variables: { id } })),
    async readDetails(id) {
      await client.query({ query: DETAILS, variables: { id } });
    },
    stop() {
      watching.unsubscribe();
      client.stop();
    },
  };
};

const watchWithUrql: Watch = async ({ url, token, fetch }, orgId) => {
  const headers = { authorization: `Bearer ${token}` };
  const introspected = (await (
    await globalThis.fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ query: getIntrospectionQuery() }),
    })
  ).json()) as { data: NonNullable<Parameters<typeof cacheExchange>[0]>['schema'] };
  const client = new UrqlClient({
    url,
    preferGetMethod: false,
    fetch,
    fetchOptions: { headers },
    exchanges: [
      cacheExchange({
        schema: introspected.data,
        // An object without an id belongs to its parent.
        keys: { BotPage: () => null, RecordedMessages: () => null },
      } as Parameters<typeof cacheExchange>[0]),
      fetchExchange,
    ],
  });
  let page: Page | undefined;
  const { unsubscribe } = client.query<Page>(PAGE, { orgId }).subscribe(({ data }) => {
    if (data) page = data;
  });
  return {
    shown: (botId) => shownOf(page, botId),
    async mutate(mutation, variables) {
      const { error } = await client.mutation(mutation, variables).toPromise();
      if (error) throw error;
    },
    details: (id) => detailsOf(client.readQuery<Details>(DETAILS, { id })?.data),
    async readDetails(id) {
      await client.query(DETAILS, { id }).toPromise();
    },
    stop: () => unsubscribe(),
  };
};

const message = (status: 'DELIVERED' | 'FAILED') => ({
  conversationId: 'c',
  contactId: 'p',
  direction: 'OUTBOUND',
  status,
  text: 'Hi',
});

/** Normalized caches identify an object by its type and id, and show a change of it everywhere. */
describe.each([
  ['Apollo Client', watchWithApollo],
  ['urql with its graph cache', watchWithUrql],
])('%s', (_name, watch) => {
  let database: TestDatabase;
  let redis: RedisService;
  let app: TestApp;
  let orgId: string;
  let botId: string;
  let token: string;
  let frontEnd: FrontEnd;
  let requests = 0;

  const countedFetch: typeof fetch = async (...args) => {
    requests++;
    return await fetch(...args);
  };

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await app?.close();
    await redis?.stop();
    await database?.drop();
  });

  beforeEach(async () => {
    orgId = await addOrganization(database.sql);
    [, botId] = (await addBots(database.sql, orgId, 3)) as [string, string];
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    frontEnd = await watch({ url: app.url, token, fetch: countedFetch }, orgId);
    await eventually(() => frontEnd.shown(botId) !== undefined);
    requests = 0;
  });

  test.each([
    ['recordMessages', RECORD],
    ['addMessages', ADD],
  ])('a page shows the statistics that %s returns, without another request', async (_mutation, document) => {
    expect(frontEnd.shown(botId)).toEqual(['bot 2', 0, 0]);
    await frontEnd.mutate(document, { botId, messages: [message('DELIVERED'), message('FAILED')] });
    await eventually(() => frontEnd.shown(botId)?.[1] === 2);
    expect(frontEnd.shown(botId)).toEqual(['bot 2', 2, 1]);
    expect(requests).toBe(1);
    frontEnd.stop();
  });

  test('a page shows the name that updateBot returns, without another request', async () => {
    await frontEnd.mutate(RENAME, { id: botId, name: 'renamed' });
    await eventually(() => frontEnd.shown(botId)?.[0] === 'renamed');
    expect(requests).toBe(1);
    frontEnd.stop();
  });

  test('details show the values that later mutations return', async () => {
    await frontEnd.readDetails(botId);
    expect(frontEnd.details(botId)).toEqual({ name: 'bot 2', totalMessages: 0 });
    await frontEnd.mutate(RECORD, { botId, messages: [message('DELIVERED')] });
    await frontEnd.mutate(RENAME, { id: botId, name: 'renamed' });
    expect(frontEnd.details(botId)).toEqual({ name: 'renamed', totalMessages: 1 });
    expect(requests).toBe(3);
    frontEnd.stop();
  });
});
