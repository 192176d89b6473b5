import { existsSync } from 'node:fs';
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { CombinedGraphQLErrors } from '@apollo/client/errors';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chromium, type Browser, type Page } from 'playwright-core';

import { safeRetries } from '../../examples/clients/apollo-link.js';
import {
  BotDetailsDocument,
  BotDocument,
  BotsDocument,
  BotsWithStatsDocument,
  CreateBotDocument,
  MeDocument,
  RecordMessagesDocument,
  StartBotDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { Client } from '../support/client.js';
import {
  askForToken,
  createDataDir,
  interruptStart,
  isListening,
  processesOf,
  runDevServer,
  runTokenProgram,
  startDevServer,
  type DevServer,
} from './dev-server.js';

const ACME = '00000000-0000-4000-8000-00000000000a';
const GLOBEX = '00000000-0000-4000-8000-00000000000b';

let dataDir: string;
let server: DevServer;

beforeAll(async () => {
  dataDir = await createDataDir();
  server = await startDevServer(dataDir);
}, 120_000);

afterAll(async () => {
  await server?.end('SIGTERM');
}, 60_000);

/** A client as a front end would configure it; statistics are identified by their bot. */
const apolloClient = (cache = new InMemoryCache({ typePolicies: { BotStats: { keyFields: ['botId'] } } })) =>
  new ApolloClient({
    link: safeRetries(
      new HttpLink({ uri: server.url, headers: { authorization: `Bearer ${server.token}` } }),
    ),
    cache,
  });

describe('Apollo Client', () => {
  test('runs the first query that the server prints', async () => {
    const client = apolloClient(new InMemoryCache());
    const { data } = await client.query<{
      bots: { total: number; items: { name: string; stats: { successRate: number } }[] };
    }>({ query: gql(server.firstQuery) });
    expect(data?.bots.total).toBe(120);
    expect(data?.bots.items).toHaveLength(3);
    for (const { stats } of data?.bots.items ?? []) {
      expect(stats.successRate).toBeGreaterThan(0.5);
      expect(stats.successRate).toBeLessThanOrEqual(1);
    }
    client.stop();
  });

  test('caches each object once, by its type and id, and shows a change everywhere', async () => {
    const client = apolloClient();
    const variables = { orgId: ACME, limit: 5 };
    const { data: listed } = await client.query({ query: BotsWithStatsDocument, variables });
    const [first] = listed?.bots.items ?? [];
    const id = first?.id ?? '';
    await client.query({ query: BotDetailsDocument, variables: { id } });

    const kept = client.cache.extract() as Record<string, Record<string, unknown>>;
    expect(kept[`Bot:${id}`]).toMatchObject({ __typename: 'Bot', id, name: first?.name });
    expect(kept[`BotStats:{"botId":"${id}"}`]).toMatchObject({ totalMessages: first?.stats.totalMessages });
    expect(Object.keys(kept).filter((key) => key.startsWith('Bot:'))).toHaveLength(5);

    const shown: (string | undefined)[] = [];
    const watching = client.watchQuery({ query: BotsWithStatsDocument, variables }).subscribe(({ data }) => {
      shown.push(data?.bots?.items?.[0]?.name);
    });
    const name = `${first?.name} (renamed)`;
    await client.mutate({ mutation: UpdateBotDocument, variables: { id, input: { name } } });
    await client.mutate({
      mutation: RecordMessagesDocument,
      variables: {
        botId: id,
        messages: [
          { conversationId: 'new', contactId: 'x', direction: 'INBOUND', status: 'DELIVERED', text: 'Hi' },
        ],
      },
    });
    const again = client.readQuery({ query: BotsWithStatsDocument, variables })?.bots.items[0];
    expect(again).toMatchObject({
      name,
      version: (first?.version ?? 0) + 1,
      stats: { totalMessages: (first?.stats.totalMessages ?? 0) + 1 },
    });
    expect(client.readQuery({ query: BotDetailsDocument, variables: { id } })?.botDetails).toMatchObject({
      bot: { name },
      stats: again?.stats,
    });
    expect(shown.at(-1)).toBe(name);
    watching.unsubscribe();

    // The client's cached state equals the server's.
    const { data: asked } = await client.query({
      query: BotsWithStatsDocument,
      variables,
      fetchPolicy: 'network-only',
    });
    expect(asked?.bots.items[0]).toMatchObject({ name, version: again?.version });
    client.stop();
  });

  test('gets errors with their code and field', async () => {
    const client = apolloClient();
    const asked = client.query({ query: BotsDocument, variables: { orgId: ACME, limit: 101 } });
    const error = await asked.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(CombinedGraphQLErrors.is(error) && error.errors[0]?.extensions).toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'limit',
    });
    client.stop();
  });
});

describe('the demo data', () => {
  const owner = () => new Client(server.url, server.token);

  test('has an organization of 120 bots with messages, for the owner whose token is printed', async () => {
    const { me } = await owner().ask(MeDocument, {});
    expect(me).toMatchObject({ email: 'owner@acme.example', memberships: [{ role: 'OWNER' }] });
    expect(me.memberships[0]?.organization).toMatchObject({ id: ACME, name: 'Acme' });
    let messages = 0;
    for (const page of [1, 2]) {
      const { bots } = await owner().ask(BotsWithStatsDocument, { orgId: ACME, page, limit: 100 });
      expect(bots.items).toHaveLength(page === 1 ? 100 : 20);
      for (const { stats } of bots.items) messages += stats.totalMessages;
    }
    expect(messages).toBeGreaterThan(10_000);
    expect(await owner().failure(BotsDocument, { orgId: GLOBEX })).toMatchObject({ code: 'NOT_FOUND' });
  });

  test.each([
    ['editor@acme.example', 'EDITOR', ACME, 120],
    ['viewer@acme.example', 'VIEWER', ACME, 120],
    ['owner@globex.example', 'OWNER', GLOBEX, 30],
  ])('has %s with the role %s', async (email, role, orgId, bots) => {
    const { stdout } = await runTokenProgram(dataDir, email);
    const client = new Client(server.url, stdout.trim());
    expect((await client.ask(MeDocument, {})).me).toMatchObject({ email, memberships: [{ role }] });
    expect((await client.ask(BotsDocument, { orgId, limit: 1 })).bots.total).toBe(bots);
  });
});

describe('`npm run --silent token -- EMAIL`', () => {
  test('prints a token on one line', async () => {
    const { code, stdout } = await askForToken(dataDir, 'viewer@acme.example');
    expect(stdout).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(code).toBe(0);
    const client = new Client(server.url, stdout.trim());
    expect((await client.ask(MeDocument, {})).me.email).toBe('viewer@acme.example');
  });

  test('prints no token for an unknown user, and says why', async () => {
    const { code, stdout, stderr } = await runTokenProgram(dataDir, 'nobody@acme.example');
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('nobody@acme.example');
  });
});

const CHROMIUM = [process.env.CHROME_PATH, '/usr/bin/chromium'].find((file) => file && existsSync(file));
const withBrowser = CHROMIUM === undefined ? describe.skip : describe;

withBrowser('the playground in a browser (skipped where there is no Chromium: set CHROME_PATH)', () => {
  let browser: Browser;
  let page: Page;
  const blocked: string[] = [];
  const failures: string[] = [];

  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: CHROMIUM ?? '',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    page = await browser.newPage();
    page.on('pageerror', (error) => failures.push(error.message));
    page.on('console', (message) => {
      if (message.text().includes('Content Security Policy')) failures.push(message.text());
    });
    await page.route('**/*', async (route) => {
      const { host, protocol, href } = new URL(route.request().url());
      if (host === new URL(server.url).host || protocol === 'data:' || protocol === 'blob:') {
        return await route.continue();
      }
      blocked.push(href);
      return await route.abort();
    });
  }, 60_000);

  afterAll(async () => {
    await browser?.close();
  });

  /** Presses run, and waits for a response that contains this text. */
  async function run(answer: string): Promise<void> {
    await page.getByRole('button', { name: /execute query/i }).click();
    await page.locator('.graphiql-response').getByText(answer).first().waitFor({ timeout: 20_000 });
  }

  const editor = async () => await page.locator('.graphiql-query-editor .view-lines').first().innerText();
  const tabs = async () => await page.locator('.graphiql-tab').allInnerTexts();

  test('shows a useful query and the token, and answers the first run', async () => {
    await page.goto(server.url);
    await page.getByRole('button', { name: /execute query/i }).waitFor({ timeout: 20_000 });
    await page.locator('.graphiql-query-editor .view-lines').first().getByText('FirstBots').waitFor();
    // The editor writes blanks as no-break spaces.
    expect((await editor()).replaceAll('\u00a0', ' ')).toContain('query FirstBots {');
    await page.getByText('"Authorization"').first().waitFor();
    await run('"total"');
    const response = await page.locator('.graphiql-response').innerText();
    expect(response.replaceAll(/\s+/g, ' ')).toContain('"total": 120');
  }, 60_000);

  test('is the same after a reload: one tab, with its query and the token', async () => {
    await page.reload();
    await run('"total"');
    expect(await tabs()).toEqual([expect.stringContaining('FirstBots')]);
  }, 60_000);

  test('keeps an edited query over a reload', async () => {
    // The page stores its query in the URL, and opens with the query of its URL.
    const mine = new URL(server.url);
    mine.searchParams.set('query', 'query Mine { me { email } }');
    await page.goto(mine.href);
    await run('"owner@acme.example"');
    await page.reload();
    await run('"owner@acme.example"');
    expect((await editor()).replaceAll('\u00a0', ' ')).toContain('query Mine');
  }, 60_000);

  test('sent no request to another host, and has no errors', () => {
    expect(blocked).toEqual([]);
    expect(failures).toEqual([]);
  });
});

describe('a development server and its services', () => {
  test('survive a kill: the next start uses the folder and its data', async () => {
    const folder = await createDataDir();
    const first = await startDevServer(folder);
    const input = { orgId: ACME, name: 'kept over a kill' };
    const { createBot } = await new Client(first.url, first.token).ask(CreateBotDocument, { input });
    expect(await first.end('SIGKILL')).toBeNull();

    const second = await startDevServer(folder);
    // The earlier token is still valid: the secret is stored in the folder.
    const client = new Client(second.url, first.token);
    expect((await client.ask(BotDocument, { id: createBot.id })).bot?.name).toBe('kept over a kill');
    expect((await client.ask(BotsDocument, { orgId: ACME })).bots.total).toBe(121);
    expect(second.output.join('\n')).not.toContain('demo data');

    expect(await second.end('SIGINT')).toBe(0);
    expect(await processesOf(folder)).toEqual([]);
    for (const url of [second.url, second.databaseUrl, second.redisUrl])
      expect(await isListening(url)).toBe(false);
  }, 120_000);

  test('are not left behind when the start is interrupted', async () => {
    const folder = await createDataDir();
    await interruptStart(folder, /Created a PostgreSQL cluster/, 'SIGINT');
    expect(await processesOf(folder)).toEqual([]);
  }, 120_000);

  test('of two folders run side by side without sharing data', async () => {
    const folder = await createDataDir();
    const other = await startDevServer(folder);
    try {
      for (const key of ['url', 'databaseUrl', 'redisUrl', 'token'] as const)
        expect(other[key]).not.toBe(server[key]);
      const client = new Client(other.url, other.token);
      const [bot] = (await client.ask(BotsDocument, { orgId: ACME, search: '119' })).bots.items;
      const id = bot?.id ?? '';
      // The same data on every machine, down to the ids.
      const before = await new Client(server.url, server.token).ask(BotDocument, { id });
      expect(before.bot?.name).toBe(bot?.name);
      const input = { name: 'only here' };
      await client.ask(UpdateBotDocument, { id, input });
      expect(await new Client(server.url, server.token).ask(BotDocument, { id })).toEqual(before);
      expect(await new Client(server.url, other.token).failure(StartBotDocument, { id })).toMatchObject({
        code: 'UNAUTHENTICATED',
      });
    } finally {
      expect(await other.end('SIGTERM')).toBe(0);
    }
    expect(await processesOf(folder)).toEqual([]);
    expect(await isListening(server.url)).toBe(true);
  }, 120_000);

  test('of one folder belong to one server: a second server is refused, and told which server uses it', async () => {
    const { code, output } = await runDevServer(dataDir);
    expect(code).toBe(1);
    expect(output).toContain(String(server.pid));
    expect(output).toContain('DATA_DIR');
    const client = new Client(server.url, server.token);
    expect((await client.ask(BotsDocument, { orgId: ACME })).bots.total).toBeGreaterThanOrEqual(120);
    expect(await isListening(server.databaseUrl)).toBe(true);
    expect(await isListening(server.redisUrl)).toBe(true);
  }, 60_000);

  test('refuse to run in production', async () => {
    const { code, output } = await runDevServer(await createDataDir(), { NODE_ENV: 'production' });
    expect(code).toBe(1);
    expect(output).toContain('npm run serve');
  });
});
