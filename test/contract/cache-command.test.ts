import { execFile } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals';

import {
  BotDetailsDocument,
  BotDocument,
  BotMessagesDocument,
  BotStatsDocument,
  BotsDocument,
  OrganizationBotsDocument,
  OrganizationStatsDocument,
  RecordMessagesDocument,
  UpdateBotDocument,
} from '../generated/graphql.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

// Each test runs commands to their end.
jest.setTimeout(120_000);

const TEXT = 'my card number is 4000';

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('npm run cache', () => {
  let fixture: Fixture;
  let botIds: string[];
  let botId: string;

  beforeAll(async () => {
    fixture = await createFixture();
    botIds = await addBots(fixture.database.sql, fixture.orgId, 3);
    botId = botIds[0] ?? '';
    await fixture.editor.ask(RecordMessagesDocument, {
      botId,
      messages: [
        {
          conversationId: 'c: 1',
          contactId: 'c',
          direction: 'INBOUND' as never,
          status: 'DELIVERED' as never,
          text: TEXT,
        },
      ],
    });
  });

  afterAll(async () => {
    await fixture?.close();
  });

  /** Runs the compiled command as an operator does. */
  const cache = async (args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> => {
    const { database, redis } = fixture;
    const env = { PATH: process.env.PATH, DATABASE_URL: database.url, REDIS_URL: redis.url, ...environment };
    return await new Promise((resolve) => {
      execFile(
        process.execPath,
        ['dist/cache-command.js', ...args],
        { env: { NODE_ENV: 'production', ...env } },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  };
  const verified = ({ stdout }: Ran) =>
    JSON.parse(stdout) as Record<
      'compared' | 'outdated' | 'stale' | 'corrupt' | 'orphaned' | 'skipped',
      number
    > & {
      findings: { problem: string; key: string; resource: string }[];
    };

  /** Puts a value of every resource into the cache. */
  const fill = async () => {
    const { orgId, owner, admin } = fixture;
    await admin.flushall();
    for (let time = 0; time < 2; time++) {
      await owner.ask(BotsDocument, { orgId });
      // A search is stored when it is asked for a second time.
      await owner.ask(BotsDocument, { orgId, search: 'bot: 1' });
      await owner.ask(BotDocument, { id: botId });
      await owner.ask(BotDetailsDocument, { id: botId });
      await owner.ask(BotStatsDocument, { id: botId });
      await owner.ask(BotMessagesDocument, { id: botId, conversationId: 'c: 1' });
      await owner.ask(OrganizationBotsDocument, { id: orgId });
      await owner.ask(OrganizationStatsDocument, { id: orgId });
    }
    await eventually(async () => (await admin.keys('*:lock')).length === 0);
  };
  beforeEach(fill);

  /** From now on the log does not know of changes of bots. The values are cached after servers have learned of that. */
  const stopLogging = async () => {
    await fixture.database.sql`alter table bots disable trigger user`;
    await eventually(async () => {
      await fill();
      return verified(await cache(['verify', '--json'])).outdated === 0;
    });
  };
  const logAgain = async () => {
    await fixture.database.sql`alter table bots enable trigger user`;
  };

  test('inspect shows the generations, the values and the last invalidations of a bot, without texts of users', async () => {
    const { stdout, code } = await cache(['inspect', '--bot', botId, '--json']);
    expect(code).toBe(0);
    expect(stdout).not.toContain(TEXT);
    const found = JSON.parse(stdout) as {
      tags: { tag: string; generationKey: string; generation: string | null; ttlMs: number }[];
      values: {
        key: string;
        resource: string;
        bytes: number;
        ttlMs: number;
        state: string;
        value: unknown;
      }[];
      invalidations: { tags: string[] }[];
    };
    expect(found.tags.map(({ generationKey }) => generationKey)).toEqual([
      `bot:${botId}:gen`,
      `bot:${botId}:stats:gen`,
    ]);
    expect(found.tags.every(({ generation, ttlMs }) => generation !== null && ttlMs > 0)).toBe(true);
    expect(found.values.map(({ resource }) => resource).toSorted()).toEqual([
      'bot',
      'botDetails',
      'botStats',
      'messagePage',
    ]);
    expect(new Set(found.values.map(({ state }) => state))).toEqual(new Set(['current']));
    const bot = found.values.find(({ resource }) => resource === 'bot');
    expect(bot).toMatchObject({ key: `bot:${botId}`, value: { id: botId, name: 'bot 1' } });
    expect(bot?.bytes).toBe(await fixture.admin.strlen(`bot:${botId}`));
    expect(bot?.ttlMs).toBeLessThanOrEqual(300_000);
    expect(found.invalidations[0]?.tags).toContain(`bot:${botId}:stats`);
  });

  test('inspect shows an organization, a tag and a key as text', async () => {
    const { orgId } = fixture;
    const organization = await cache(['inspect', '--organization', orgId]);
    expect(organization.stdout).toMatch(
      new RegExp(`bots:org:${orgId}:page:1:limit:20:search:\n  botPage, current`),
    );
    expect((await cache(['inspect', '--tag', `org:${orgId}:stats`])).stdout).toContain(
      `org:${orgId}:stats\n`,
    );
    const { stdout } = await cache(['inspect', '--key', `bot:${botId}`]);
    expect(stdout).toContain('"name":"bot 1"');
    expect((await cache(['inspect', '--key', 'bot:none'])).stdout).toBe(
      'Redis has no value under bot:none.\n',
    );
  });

  test('stats counts all keys, by resource', async () => {
    await fixture.admin.set('somebody:else', 'x');
    const { stdout } = await cache(['stats', '--json']);
    const kinds = JSON.parse(stdout) as { kind: string; keys: number; bytes: number; withoutTtl: number }[];
    const of = (kind: string) => kinds.find((each) => each.kind === kind);
    expect(of('botPage')?.keys).toBe(2);
    expect(of('bot')?.bytes).toBe(await fixture.admin.strlen(`bot:${botId}`));
    expect(of('generations')).toMatchObject({ withoutTtl: 0 });
    expect(of('others')).toEqual({ kind: 'others', keys: 1, bytes: 1, withoutTtl: 1 });
    expect(kinds.reduce((sum, { keys }) => sum + keys, 0)).toBe(await fixture.admin.dbsize());
    expect((await cache(['stats'])).stdout).toMatch(/^KIND +KEYS +BYTES +WITHOUT TTL\n/);
  });

  test.each([
    ['--bot', (id: string) => ['--bot', id]],
    ['--tag', (id: string) => ['--tag', `bot:${id}`]],
    ['--everything', () => ['--everything']],
  ])('drop %s makes every server show what the database could not log', async (_what, args) => {
    const name = async () => (await fixture.owner.ask(BotDocument, { id: botId })).bot?.name;
    await stopLogging();
    try {
      await fixture.database.sql`update bots set name = 'unlogged' where id = ${botId}`;
      expect(await name()).toBe('bot 1');
      expect(await cache(['drop', ...args(botId)])).toMatchObject({ code: 0, stderr: '' });
      expect(await name()).toBe('unlogged');
    } finally {
      await logAgain();
    }
    await fixture.editor.ask(UpdateBotDocument, { id: botId, input: { name: 'bot 1' } });
  });

  test('verify finds nothing in a healthy cache, and has compared every resource', async () => {
    const ran = await cache(['verify', '--json']);
    expect(verified(ran)).toMatchObject({ stale: 0, corrupt: 0, orphaned: 0, findings: [], skipped: 0 });
    const keys = (await fixture.admin.keys('*')).filter((key) => !/:(gen|index|lock)$/.test(key));
    expect(verified(ran).compared).toBe(keys.length);
    expect(ran.code).toBe(0);
  });

  test('verify finds nothing while the values are being written', async () => {
    const stop = new AbortController();
    const write = async () => {
      let description = '';
      for (let n = 0; !stop.signal.aborted; n++) {
        description = `sql ${n}`;
        await fixture.editor.ask(UpdateBotDocument, { id: botId, input: { description: `${n}` } });
        await fixture.owner.ask(BotDetailsDocument, { id: botId });
        await fixture.owner.ask(BotsDocument, { orgId: fixture.orgId });
        await fixture.database
          .sql`update bots set description = ${description} where id = ${botIds[1] ?? ''}`;
      }
      return description;
    };
    const writing = write();
    try {
      for (let time = 0; time < 5; time++) {
        const ran = await cache(['verify']);
        expect(ran).toMatchObject({ code: 0, stderr: '' });
      }
    } finally {
      stop.abort();
      const last = await writing;
      const shown = async () =>
        (await fixture.owner.ask(BotDocument, { id: botIds[1] ?? '' })).bot?.description;
      await eventually(async () => (await shown()) === last);
    }
  });

  test('verify names stale, corrupt and orphaned values, and ends with 1', async () => {
    const { admin, database, orgId } = fixture;
    await stopLogging();
    await database.sql`update bots set description = 'unlogged' where id = ${botId}`;
    // Nothing was written under this tag: the sweep of the log would remove a value that it cannot read.
    const [userKey = ''] = await admin.keys('user:????????-????-????-????-????????????');
    await admin.set(userKey, 'not an envelope', 'KEEPTTL');
    await admin.del(`bot:${botId}:stats:gen`);
    const ran = await cache(['verify', '--json']);
    expect(ran.code).toBe(1);
    const problems = verified(ran).findings.map(({ problem, key }) => `${problem} ${key}`);
    expect(problems).toEqual(
      expect.arrayContaining([
        `stale bot:${botId}`,
        `stale org:${orgId}:bots`,
        `stale bots:org:${orgId}:page:1:limit:20:search:`,
        `corrupt ${userKey}`,
        `orphaned bot:${botId}:stats`,
        `orphaned bot:${botId}:details`,
      ]),
    );
    const { stdout } = await cache(['verify']);
    expect(stdout).toMatch(/^Compared \d+ values with PostgreSQL: 3 stale, 1 corrupt, 3 orphaned\.\n/);
    await logAgain();
    await cache(['drop', '--bot', botId, '--tag', userKey]);
    expect(await cache(['verify'])).toMatchObject({ code: 0 });
  });

  test('starting a command outdates nothing, however often a bot was written', async () => {
    for (let n = 0; n < 10; n++)
      await fixture.database.sql`update bots set description = ${`${n}`} where id = ${botId}`;
    const shown = async () => (await fixture.owner.ask(BotDocument, { id: botId })).bot?.description;
    await eventually(async () => (await shown()) === '9');
    await fill();
    const before = await fixture.admin.get(`bot:${botId}:gen`);
    await cache(['inspect', '--bot', botId]);
    expect(await fixture.admin.get(`bot:${botId}:gen`)).toBe(before);
  });

  test('warm loads what was read most, and nothing that is cached', async () => {
    const { admin, owner, orgId } = fixture;
    await admin.flushall();
    expect((await cache(['warm'])).stdout).toMatch(/^Loaded \d+ of \d+ values; the others were cached/);
    // The first page of the organization, and its bots' statistics.
    expect(await admin.exists(`bots:org:${orgId}:page:1:limit:20:search:`, `bot:${botId}:stats`)).toBe(2);
    const again = JSON.parse((await cache(['warm', '--json'])).stdout) as { loaded: number };
    expect(again.loaded).toBe(0);
    expect((await owner.ask(BotsDocument, { orgId })).bots.total).toBe(3);
  });

  test('verify looks at a sample', async () => {
    const ran = await cache(['verify', '--sample', '0.0001', '--json']);
    expect(verified(ran).compared).toBe(0);
  });

  test.each([
    ['no command', [], /^Usage: npm run cache/],
    ['an unknown command', ['flush'], /^There is no command flush\./],
    ['an unknown option', ['stats', '--all'], /^Unknown option '--all'/],
    ['nothing to inspect', ['inspect'], /^inspect needs one of --bot, --organization, --tag and --key\.$/m],
    ['an id that is no uuid', ['inspect', '--bot', 'x'], /^bots\.0 must be a uuid$/m],
    ['nothing to drop', ['drop'], /^input must have at least one of tags/],
    [
      'no percentage',
      ['verify', '--sample', 'all'],
      /^--sample must be a percentage above 0, at most 100\.$/m,
    ],
  ])('says what is wrong: %s', async (_name, args, message) => {
    const { code, stderr } = await cache(args);
    expect(stderr).toMatch(message);
    expect(code).toBe(1);
  });

  test('says so if Redis or PostgreSQL cannot be used', async () => {
    expect((await cache(['stats'], { REDIS_URL: 'off' })).stderr).toBe(
      'REDIS_URL is off: there is no cache.\n',
    );
    expect((await cache(['stats'], { REDIS_URL: 'redis://127.0.0.1:1' })).stderr).toMatch(
      /^Redis cannot be used: it is down/,
    );
    const { stderr, code } = await cache(['stats'], { DATABASE_URL: 'postgres://127.0.0.1:1/x' });
    expect(stderr).toMatch(/^The invalidation log cannot be read\.$/m);
    expect(code).toBe(1);
  });
});
