import { execFile } from 'node:child_process';
import { access, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { BotsDocument } from '../generated/graphql.js';
import { eventually } from '../support/eventually.js';
import { addOrganization, addUser, SECRET } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { unknownSettings } from './settings.js';

// Each command starts programs.
jest.setTimeout(120_000);

const FOLDER = 'docs/operations';
const POOL_MAX = 3;
const OPERATOR_TOKEN = 'the-token-of-the-operators-of-these-pages';

const pages = new Map<string, string>();
for (const name of await readdir(FOLDER)) {
  if (name.endsWith('.md')) pages.set(name, await readFile(path.join(FOLDER, name), 'utf8'));
}

/** The blocks of a language, as `[page, text]`. Blocks in lists are indented. */
const blocksOf = (language: string): [page: string, text: string][] =>
  [...pages].flatMap(([name, text]) =>
    [...text.matchAll(new RegExp(`^ *\`\`\`${language}\\n(.*?)^ *\`\`\`$`, 'gms'))].map(
      ([, block = '']): [string, string] => [name, block],
    ),
  );

let database: TestDatabase;
let redis: RedisService;
let server: ServerProcess;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  server = await startServerProcess({
    DATABASE_URL: `${database.url}?application_name=measured`,
    DATABASE_POOL_MAX: String(POOL_MAX),
    REDIS_URL: redis.url,
    OPERATOR_TOKEN,
  });
});

afterAll(async () => {
  await server?.end('SIGTERM');
  await redis?.stop();
  await database?.drop();
});

/** Runs a script as an operator does in the folder of a release, beside a running server. Returns what it printed. */
async function run(script: string): Promise<string> {
  const here = script.replaceAll('http://127.0.0.1:4000', new URL(server.url).origin);
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    JWT_SECRET: SECRET,
    OPERATOR_TOKEN,
  };
  return await new Promise((resolve, reject) => {
    execFile('bash', ['-euo', 'pipefail', '-c', here], { env }, (error, stdout) =>
      error ? reject(error) : resolve(stdout),
    );
  });
}

describe('the pages for operators', () => {
  test.each(blocksOf('sh'))('%s: this command succeeds and says something: %s', async (_page, script) => {
    expect(await run(script)).not.toBe('');
  });

  test.each(blocksOf('sh cluster'))('%s: the files in this command exist: %s', async (_page, script) => {
    for (const [, file = ''] of script.matchAll(/(?:-k|-f) (\S+)/g)) {
      await expect(access(file)).resolves.toBeUndefined();
    }
  });

  test.each(blocksOf('env'))('%s: the server reads these settings: %s', async (_page, text) => {
    const given = Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ) as Record<string, string>;
    const { NODE_EXTRA_CA_CERTS: _ofNode, ...settings } = given;
    expect(await unknownSettings(Object.keys(settings))).toEqual([]);
    const required = { DATABASE_URL: 'postgres://127.0.0.1/x', REDIS_URL: 'off', JWT_SECRET: SECRET };
    expect(readConfig({ NODE_ENV: 'production', ...required, ...settings })).toMatchObject({
      production: true,
    });
  });

  test('have no other commands and settings than these', () => {
    const languages = [...pages.values()].flatMap((text) =>
      [...text.matchAll(/^ *```(.+)$/gm)].map(([, language]) => language),
    );
    expect(new Set(languages)).toEqual(
      new Set(['env', 'haproxy', 'ini', 'json', 'nginx', 'redis', 'sh', 'sh cluster']),
    );
  });

  test('name files and variables that exist, and link to pages and headings that exist', async () => {
    for (const [name, text] of pages) {
      for (const [, file = ''] of text.matchAll(/`((?:src|test|deploy|dist)\/[\w./-]+)`/g)) {
        await expect(access(file)).resolves.toBeUndefined();
      }
      for (const [, link = ''] of text.matchAll(/\]\(([^):]+)\)/g)) {
        const [file = '', heading] = link.split('#');
        const target = await readFile(path.join(FOLDER, file || name)).catch(
          (error: NodeJS.ErrnoException) => {
            if (error.code === 'EISDIR') return '';
            throw error;
          },
        );
        const headings = [...String(target).matchAll(/^#+ (.*)$/gm)].map(([, title = '']) =>
          title.toLowerCase().replaceAll(' ', '-'),
        );
        if (heading !== undefined) expect(headings).toContain(heading);
      }
      const variables = text.match(/\b(?:[A-Z]+_)+[A-Z]+(?==|`)/g) ?? [];
      const own = variables.filter((variable) => !['NODE_EXTRA_CA_CERTS', 'EAI_AGAIN'].includes(variable));
      expect([name, await unknownSettings(own)]).toEqual([name, []]);
    }
  });
});

test('a server opens as many connections to PostgreSQL as the page about sizing says', async () => {
  expect(pages.get('sizing.md')).toContain('`DATABASE_POOL_MAX` + 2 connections');
  // One organization does not get all connections.
  const callers = await Promise.all(
    [1, 2].map(async () => {
      const orgId = await addOrganization(database.sql);
      return { orgId, ...(await addUser(database.sql, { [orgId]: 'VIEWER' })) };
    }),
  );
  const connections = async () =>
    await database.sql`
      select pid, wait_event_type as waits from pg_stat_activity
      where datname = current_database() and application_name = 'measured'`;
  const lock = await database.sql.reserve();
  try {
    await lock`begin`;
    await lock`lock table bots in access exclusive mode`;
    const answers = callers.flatMap(({ orgId, token }) =>
      Array.from({ length: 2 * POOL_MAX }, async (_, index) => {
        const search = `search ${index}`;
        return await server.client(token).ask(BotsDocument, { orgId, search });
      }),
    );
    await eventually(
      async () => (await connections()).filter(({ waits }) => waits === 'Lock').length === POOL_MAX,
    );
    expect((await fetch(new URL('/readyz', server.url))).status).toBe(200);
    expect(await connections()).toHaveLength(POOL_MAX + 2);
    await lock`rollback`;
    await Promise.all(answers);
  } finally {
    lock.release();
  }
});
