import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';

import type { ConsoleEntity } from '../../src/http/console-route.js';
import { createFixture, type Fixture } from '../contract/fixture.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';

jest.setTimeout(60_000);

const TOKEN = 'the-token-of-the-operators-in-this-test';
const LIST = `query ConsoleList($orgId: ID!) { bots(orgId: $orgId) { items { stats { totalMessages } } } }`;
const PHONE = { width: 390, height: 844 };

const CHROMIUM = [process.env.CHROME_PATH, '/usr/bin/chromium'].find((file) => file && existsSync(file));
const withBrowser = CHROMIUM === undefined ? describe.skip : describe;

withBrowser('the console in a browser (skipped where there is no Chromium: set CHROME_PATH)', () => {
  let fixture: Fixture;
  let guarded: TestApp;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  let botId: string;
  /** What a page may not do: fail, violate its policy, or ask other hosts. */
  let failures: string[];

  beforeAll(async () => {
    fixture = await createFixture();
    [botId] = (await addBots(fixture.database.sql, fixture.orgId, 3)) as [string];
    guarded = await startApp({ DATABASE_URL: fixture.database.url, OPERATOR_TOKEN: TOKEN });
    browser = await chromium.launch({
      executablePath: CHROMIUM ?? '',
      args: [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--no-first-run',
        '--disable-background-networking',
      ],
    });
  });

  afterAll(async () => {
    await browser?.close();
    await guarded?.close();
    await fixture?.close();
  });

  beforeEach(async () => {
    failures = [];
    context = await browser.newContext({ viewport: { width: 1_280, height: 900 } });
    page = await context.newPage();
    page.on('pageerror', (error) => failures.push(error.message));
    page.on('console', (message) => {
      // The browser reports each refused token.
      if (message.type() === 'error' && !message.text().includes('401')) failures.push(message.text());
    });
    page.on('request', (request) => {
      const { host } = new URL(request.url());
      if (host !== new URL(page.url() === 'about:blank' ? request.url() : page.url()).host)
        failures.push(request.url());
    });
  });

  afterEach(async () => {
    await context.close();
    if (failures.length > 0) throw new Error(failures.join('\n'));
  });

  const open = async (app = fixture.app) => {
    await page.goto(new URL('/console', app.url).href);
  };
  const openContent = async () => {
    await open();
    await page.getByRole('heading', { name: 'Health' }).waitFor();
  };
  let asked = 0;
  const readList = async () => await fixture.owner.sendText(LIST, { orgId: fixture.orgId, unused: asked++ });
  const focused = async () => await page.evaluate('document.activeElement.id');

  test('asks for the token, keeps it in the tab, and forgets it', async () => {
    await open(guarded);
    await page.getByRole('heading', { name: 'Operators only' }).waitFor();
    expect(await focused()).toBe('token');
    await page.keyboard.type('another');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('refused').waitFor();
    expect(await page.getByLabel('Operator’s token').inputValue()).toBe('');
    await page.keyboard.type(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Health' }).waitFor();
    expect(await page.getByLabel('Operator’s token').isVisible()).toBe(false);
    expect(page.url()).not.toContain(TOKEN);

    await page.reload();
    await page.getByRole('heading', { name: 'Health' }).waitFor();
    const other = await browser.newPage();
    await other.goto(page.url());
    await other.getByRole('heading', { name: 'Operators only' }).waitFor();
    await other.close();

    await page.getByRole('button', { name: 'Forget the token' }).click();
    await page.getByRole('heading', { name: 'Operators only' }).waitFor();
    expect(await page.getByRole('heading', { name: 'Health' }).isVisible()).toBe(false);
  });

  test('shows the state of the services, and draws what happens while it is open', async () => {
    await openContent();
    const tile = (name: string) => page.locator('.tile', { hasText: name });
    await tile('Redis').getByText('up', { exact: true }).waitFor();
    await tile('PostgreSQL')
      .getByText(/of 10 connections/)
      .waitFor();
    await tile('Response cache')
      .getByText(/responses/)
      .waitFor();

    const rates = page.getByRole('img', { name: /^Hit rate/ });
    const load = page.getByRole('img', { name: /^Load/ });
    await eventually(
      async () => (await load.getAttribute('aria-label'))?.startsWith('Load: operations 0/s') === true,
    );
    expect(await rates.locator('.line-1').getAttribute('d')).toBe('');
    await readList();
    await eventually(async () => (await fixture.app.metric('flovo_cache_fills_total')) >= 4);
    await readList();
    await eventually(async () =>
      /values in Redis \d+(\.\d)? %/.test((await rates.getAttribute('aria-label')) ?? ''),
    );
    expect(await rates.locator('.line-1').getAttribute('d')).toMatch(/^M/);

    const card = page.locator('[data-resource="botStats"]');
    await card.getByText(/3 absent/).waitFor();
    await card.getByText('50 % of 6').waitFor();
    const row = page.getByRole('row', { name: /ConsoleList/ });
    await row.getByText('query').waitFor();
    await row.getByText('100 %').waitFor();
    await page.getByText(/2 on this database/).waitFor();
  });

  test('can be paused, and shows earlier values to the arrow keys', async () => {
    await openContent();
    const load = page.getByRole('img', { name: /^Load/ });
    await eventually(async () => (await load.locator('.line-1').getAttribute('d'))?.includes('L') === true);
    await load.focus();
    await page.keyboard.press('ArrowLeft');
    expect(await load.getAttribute('aria-label')).toMatch(/^Load: \d+ (m?s) ago: operations/);
    await page.keyboard.press('Escape');
    expect(await load.getAttribute('aria-label')).toMatch(/^Load: operations/);

    await page.getByRole('button', { name: 'Pause' }).press('Space');
    await page.getByRole('status').getByText('Paused').waitFor();
    let polls = 0;
    page.on('request', () => polls++);
    await page.waitForTimeout(3_000);
    expect(polls).toBe(0);
    await page.getByRole('button', { name: 'Pause' }).press('Space');
    await page.getByRole('status').getByText('Live').waitFor();
    expect(polls).toBeGreaterThan(0);
  });

  test('says so while the server does not answer, and goes on by itself', async () => {
    await openContent();
    await page.route('**/console/state', async (route) => await route.abort());
    await page.getByRole('status').getByText('does not answer').waitFor();
    expect(failures).toContain('Failed to load resource: net::ERR_FAILED');
    await page.unroute('**/console/state');
    await page.getByRole('status').getByText('Live').waitFor();
    failures = failures.filter((text) => !text.includes('ERR_FAILED'));
  });

  test('keeps the processes behind a balancer apart', async () => {
    await openContent();
    let turn = 0;
    await page.route('**/console/state', async (route) => {
      const answer = await route.fetch();
      const state = (await answer.json()) as { process: { id: string; host: string }; operations: unknown };
      if (turn++ % 2 === 0) {
        Object.assign(state.process, { id: 'other', host: 'other-host' });
        state.operations = [{ operation: 'OnlyThere', type: 'query', count: 1_000_000, seconds: 5 }];
      }
      await route.fulfill({ json: state });
    });
    const choice = page.getByLabel('Server process', { exact: true });
    await choice.waitFor();
    const load = page.getByRole('img', { name: /^Load/ });
    await eventually(() => turn >= 4);
    // Had the counts of two processes been compared, the scale would reach a million.
    const chart = page.locator('figure', { has: load });
    expect(await chart.innerText()).not.toMatch(/\d[KM]\/s/);
    expect(await page.getByRole('row', { name: /OnlyThere/ }).count()).toBe(0);
    await choice.selectOption('other');
    await page.getByRole('row', { name: /OnlyThere/ }).waitFor();
  });

  describe('looks up', () => {
    const MARKUP = '<img src="x" onerror="document.title = \'run\'">';
    const entity = (): ConsoleEntity => ({
      tags: [
        { tag: `bot:${botId}`, generationKey: `bot:${botId}:gen`, generation: 'c0ffee', ttlMs: 3_600_000 },
        { tag: `bot:${botId}:stats`, generationKey: `bot:${botId}:stats:gen`, generation: null, ttlMs: null },
      ],
      values: [
        {
          key: `bot:${botId}`,
          resource: 'bot',
          bytes: 2_048,
          ttlMs: 252_000,
          state: 'current',
          value: { name: MARKUP, description: 'x'.repeat(300) },
        },
        {
          key: `bot:${botId}:stats`,
          resource: 'botStats',
          bytes: 9,
          ttlMs: null,
          state: 'damaged',
          value: null,
        },
      ],
      invalidations: [{ at: '2026-01-02T03:04:05.678Z', xid: '4711', tags: [`bot:${botId}`, MARKUP] }],
    });
    const serveEntity = async () =>
      await page.route('**/console/entity?*', async (route) => await route.fulfill({ json: entity() }));
    const lookUp = async () => {
      await page.getByLabel('Id', { exact: true }).focus();
      await page.keyboard.type(` ${botId} `);
      await page.keyboard.press('Enter');
    };

    test('a bot by the keyboard alone, and shows its tags, values and invalidations as text', async () => {
      await openContent();
      await serveEntity();
      const asking = page.waitForRequest(/console\/entity/);
      await lookUp();
      expect(new URL((await asking).url()).search).toBe(`?kind=bot&id=${botId}`);
      await page.getByRole('status').getByText('2 cached values').waitFor();
      const tags = page.getByRole('region', { name: 'Tags and generations' });
      await tags.getByText('c0ffee').waitFor();
      await tags.getByText('1 h').waitFor();

      const value = page.locator('details').first();
      await value.getByText('current').waitFor();
      await value.getByText('bot, 2 kB, expires in 4 min 12 s').waitFor();
      await value.locator('summary').focus();
      await page.keyboard.press('Enter');
      await value.getByLabel(`The value of bot:${botId}`).waitFor();
      expect(await value.locator('pre').innerText()).toContain(MARKUP.replaceAll('"', '\\"'));
      await page.locator('details').nth(1).getByText('damaged, not used').waitFor();
      await page.getByRole('region', { name: 'Last invalidations' }).getByText('4711').waitFor();
      expect(await page.locator('#entity img').count()).toBe(0);
      expect(await page.title()).toBe('Flovo Bots console');
    });

    test('again what its address names', async () => {
      await openContent();
      await serveEntity();
      await lookUp();
      await page.getByRole('status').getByText('2 cached values').waitFor();
      expect(new URL(page.url()).hash).toBe(`#bot=${botId}`);
      await page.reload();
      await page.getByRole('status').getByText('2 cached values').waitFor();
      expect(await page.getByLabel('Id', { exact: true }).inputValue()).toBe(botId);
    });

    test('nothing by what is no id, and says what is wrong', async () => {
      await openContent();
      await page.getByLabel('Organization').check();
      await page.getByLabel('Id', { exact: true }).fill('Acme');
      await page.keyboard.press('Enter');
      await page.getByRole('status').getByText('id must be a uuid').waitFor();
      expect(await page.locator('#entity').isVisible()).toBe(false);
      failures = failures.filter((text) => !text.includes('400'));
    });

    test('and drops what is cached of a bot, or of one of its tags', async () => {
      const stored = async (key: string) => (await fixture.admin.exists(key)) === 1;
      const fill = async () => {
        await readList();
        await fixture.owner.sendText(`query One($id: ID!) { bot(id: $id) { name } }`, { id: botId });
        await eventually(async () => (await stored(`bot:${botId}`)) && (await stored(`bot:${botId}:stats`)));
      };
      await openContent();
      await serveEntity();
      await fill();
      await lookUp();
      await page.getByRole('button', { name: `Drop bot:${botId}:stats` }).press('Enter');
      await page.getByRole('status').getByText(`Dropped bot:${botId}:stats. 2 cached values`).waitFor();
      expect([await stored(`bot:${botId}`), await stored(`bot:${botId}:stats`)]).toEqual([true, false]);

      await fill();
      await page.getByRole('button', { name: 'Drop all of it' }).press('Enter');
      await page.getByRole('status').getByText(`org:${fixture.orgId}`).waitFor();
      expect([await stored(`bot:${botId}`), await stored(`bot:${botId}:stats`)]).toEqual([false, false]);
      await eventually(async () => (await focused()) === 'drop-entity');
    });

    test('on a phone without scrolling sideways', async () => {
      await page.setViewportSize(PHONE);
      await openContent();
      await serveEntity();
      await readList();
      await lookUp();
      await page.locator('summary').first().click();
      await page.getByRole('row', { name: /ConsoleList/ }).waitFor();
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(PHONE.width);
      const wide = `[...document.querySelectorAll('button, input, summary, h2, h3, figure, .tile, .card')]
        .filter((each) => each.checkVisibility() && !each.closest('.scroll'))
        .filter((each) => each.getBoundingClientRect().right > ${PHONE.width}).map((each) => each.outerHTML)`;
      expect(await page.evaluate(wide)).toEqual([]);
    });
  });

  test('has landmarks, and names everything that can be focused, with a visible focus', async () => {
    await openContent();
    for (const landmark of ['banner', 'main', 'navigation', 'search'] as const)
      expect(await page.getByRole(landmark).count()).toBe(1);
    await page.keyboard.press('Tab');
    const first = await page.evaluate('document.activeElement.textContent');
    expect(first).toBe('Skip to the content');
    // The names and outlines of all stops of the Tab key, until it leaves the page.
    const stops: string[] = [];
    for (let i = 0; i < 40; i++) {
      const stop = await page.evaluate<{ name: string; outline: string } | null>(`(() => {
        const at = document.activeElement;
        if (at === document.body) return null;
        const { outlineStyle, outlineWidth } = getComputedStyle(at);
        const name = at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent
          ?? document.getElementById(at.getAttribute('aria-labelledby'))?.textContent ?? at.textContent;
        return { name: name.trim(), outline: outlineStyle + ' ' + outlineWidth };
      })()`);
      if (!stop) break;
      expect(stop.name).not.toBe('');
      expect([stop.name, stop.outline]).toEqual([stop.name, 'solid 3px']);
      stops.push(stop.name);
      await page.keyboard.press('Tab');
    }
    expect(stops).toEqual(expect.arrayContaining(['Pause', 'Bot', 'Id', 'Look up', 'Busiest operations']));
  });

  test.each(['light', 'dark'] as const)('is readable in %s colors', async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await openContent();
    await readList();
    await page.getByRole('row', { name: /ConsoleList/ }).waitFor();
    const { page: background, poor } = await page.evaluate<{ page: number; poor: string[] }>(`(() => {
      const parse = (color) => color.match(/[\\d.]+/g).map(Number);
      const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
        .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
      const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
          const color = parse(getComputedStyle(at).backgroundColor);
          if (color.length === 3 || color[3] > 0) return color;
        }
        return [255, 255, 255];
      };
      const poor = [...document.querySelectorAll('h1, h2, p, dt, dd, th, td, a, button, label, figcaption, li')]
        .filter((each) => each.checkVisibility() && each.textContent.trim() !== '')
        .filter((each) => {
          const [a, b] = [luminance(parse(getComputedStyle(each).color)), luminance(behind(each))];
          return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
        })
        .map((each) => each.outerHTML);
      return { page: luminance(behind(document.body)), poor };
    })()`);
    expect(poor).toEqual([]);
    if (colorScheme === 'dark') expect(background).toBeLessThan(0.1);
    else expect(background).toBeGreaterThan(0.8);
  });
});
