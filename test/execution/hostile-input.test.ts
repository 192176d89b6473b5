import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** Often enough for a server to cache documents, responses or code generated from them. */
const TIMES = 6;

jest.setTimeout(120_000);

/** Nothing that a client sends is ever evaluated, however it is sent, and however often. */
describe('text that tries to be executed does no harm', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let server: ServerProcess;
  let folder: string;
  let token: string;
  let orgId: string;
  let botId: string;

  beforeAll(async () => {
    [database, redis, folder] = await Promise.all([
      createDatabase(),
      createRedis(),
      mkdtemp(path.join(tmpdir(), 'flovo-evaluated-')),
    ]);
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      // Fastify's router does not start under --disallow-code-generation-from-strings.
      NODE_OPTIONS: `--import=${pathToFileURL(path.join(process.cwd(), 'test/execution/refuse-evaluation.mjs')).href}`,
    });
  });

  afterAll(async () => {
    await server?.end('SIGTERM');
    await redis?.stop();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  const marker = () => path.join(folder, 'evaluated');

  /** A JavaScript statement that writes a file and ends the process. */
  const statement = () =>
    `process.getBuiltinModule('fs').writeFileSync('${marker()}','');globalThis.evaluated=1;process.exit(7)`;

  /** Texts that break out of a string, comment or template in generated source code. */
  const FORMS: readonly (readonly [name: string, form: (code: string) => string])[] = [
    ['the text itself', (code) => code],
    ['a template', (code) => `\${${code}}`],
    ['the end of a template', (code) => `\`;${code};\``],
    ['the end of a text', (code) => `";${code};"`],
    ['the end of a text in single quotes', (code) => `';${code};'`],
    ['an escaped end of a text', (code) => `\\";${code};//`],
    ['the end of a line', (code) => `\n${code}\n`],
    ['the end of a line by a separator', (code) => `\u2028${code}\u2029`],
    ['the end of a comment', (code) => `*/${code}/*`],
    ['the end of a function', (code) => `}});${code};({a(){`],
    ['a marker of graphql-jit', (code) => `__MAGIC_MINUS_INFINITY__${code}__MAGIC_MINUS_INFINITY__`],
    [
      'a marker of graphql-jit for variables',
      (code) => `__$$VALUE_FROM_VARIABLE$$__",(${code}),"__$$VALUE_FROM_VARIABLE$$__`,
    ],
    ['a constructor', (code) => `constructor.constructor("${code}")()`],
    ['an element of a page', (code) => `<script>${code}</script>`],
    ['a pattern of SQL', (code) => `'; select pg_sleep(0); -- ${code}`],
  ];

  interface Sent {
    readonly status: number;
    readonly body: string;
  }

  async function send(
    body: Readonly<Record<string, unknown>>,
    options: { method: 'GET' | 'POST'; authenticated: boolean; headers?: Record<string, string> },
  ): Promise<Sent> {
    const { method, authenticated, headers = {} } = options;
    const url = new URL(server.url);
    if (method === 'GET') {
      for (const [key, value] of Object.entries(body)) {
        url.searchParams.set(key, typeof value === 'string' ? value : JSON.stringify(value));
      }
    }
    const response = await fetch(url, {
      method,
      headers: {
        ...(authenticated ? { authorization: `Bearer ${token}` } : {}),
        ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(method === 'POST' ? { body: JSON.stringify(body) } : {}),
    });
    return { status: response.status, body: await response.text() };
  }

  /** Checks that another caller is still answered, and that no statement was executed. */
  async function expectNothingRan(): Promise<void> {
    expect(existsSync(marker())).toBe(false);
    expect(server.child.exitCode).toBeNull();
    expect(server.output.filter((line) => /REFUSED CODE/.test(line))).toEqual([]);
    const { body } = await send({ query: '{ me { name } }' }, { method: 'POST', authenticated: true });
    expect(JSON.parse(body)).toEqual({ data: { me: { name: 'Someone' } } });
  }

  const WAYS = (['GET', 'POST'] as const).flatMap((method) =>
    [true, false].map((authenticated) => ({ method, authenticated })),
  );

  test.each(FORMS)('as %s', async (_name, form) => {
    const hostile = form(statement());
    const literal = JSON.stringify(hostile);
    const block = `"""${hostile.replaceAll('"""', '')}"""`;
    const bodies = [
      { query: `{ bots(orgId: "${orgId}", search: ${literal}) { total } }` },
      { query: `{ bots(orgId: "${orgId}", search: ${block}) { total } }` },
      { query: `{ bot(id: ${literal}) { name } }` },
      { query: `query ($s: String = ${literal}) { bots(orgId: "${orgId}", search: $s) { total } }` },
      { query: `{ __type(name: ${literal}) { name } }` },
      {
        query: `query ($s: String) { bots(orgId: "${orgId}", search: $s) { total } }`,
        variables: { s: hostile, [hostile]: hostile },
      },
      { query: `# ${hostile.replaceAll(/[\n\r]/g, ' ')}\n{ me { name } }` },
      { query: 'query Read { me { name } }', operationName: hostile },
      { query: 'query Read { me { name } }', extensions: { [hostile]: hostile }, [hostile]: hostile },
      { query: hostile },
      { query: `{ me @include(if: ${literal}) { name } }` },
    ];
    for (const way of WAYS) {
      for (const body of bodies) {
        const answers: Sent[] = [];
        for (let time = 0; time < TIMES; time++) answers.push(await send(body, way));
        const statuses = new Set(answers.map(({ status }) => status));
        expect({ body, statuses: [...statuses] }).toEqual({ body, statuses: [answers[0]?.status] });
        expect(answers[0]?.status).toBeLessThan(500);
      }
    }
    await expectNothingRan();
  });

  test.each(['__proto__', 'constructor', 'prototype', 'toString', '__defineGetter__', 'then', 'evaluated'])(
    'as the name %s of operations, aliases, fragments and variables',
    async (name) => {
      const query = `query ${name}($${name}: Boolean = true) { ${name}: me { ${name}: name ...${name} @include(if: $${name}) } }
        fragment ${name} on User { id }`;
      for (const way of WAYS) {
        const answers = new Set<string>();
        for (let time = 0; time < TIMES; time++) {
          answers.add((await send({ query, operationName: name }, way)).body);
        }
        expect(answers.size).toBe(1);
        const [answer] = answers as unknown as [string];
        expect(answer).toContain(
          way.authenticated ? `{"data":{"${name}":{"${name}":"Someone"` : 'UNAUTHENTICATED',
        );
      }
      await expectNothingRan();
    },
  );

  test('as headers', async () => {
    const code = statement();
    const headers = {
      accept: `application/json, text/\${${code}}`,
      'x-request-id': `\${${code}}`,
      'user-agent': `';${code};'`,
      'apollographql-client-name': `\`;${code};\``,
      'accept-language': `__MAGIC__${code}`,
      origin: `https://\${${code}}`,
    };
    for (const way of WAYS) {
      for (let time = 0; time < TIMES; time++) {
        const { status } = await send({ query: '{ me { id } }' }, { ...way, headers });
        expect(status).toBeLessThan(500);
      }
    }
    await expectNothingRan();
  });

  test('as texts of a mutation, which are stored unchanged', async () => {
    for (const [, form] of FORMS) {
      const description = form(statement());
      for (const query of [
        'mutation ($id: ID!, $d: String) { updateBot(id: $id, input: { description: $d }) { description } }',
        `mutation ($id: ID!) { updateBot(id: $id, input: { description: ${JSON.stringify(description)} }) { description } }`,
      ]) {
        for (let time = 0; time < TIMES; time++) {
          const variables = { id: botId, d: description };
          const { body } = await send({ query, variables }, { method: 'POST', authenticated: true });
          expect(JSON.parse(body)).toEqual({ data: { updateBot: { description } } });
        }
      }
    }
    await expectNothingRan();
  });
});
