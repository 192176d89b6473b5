import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { serverAudits } from 'graphql-http';

import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** These audits ask for `__type`, and want it answered. Introspection is refused in production. */
const INTROSPECTION_AUDITS: ReadonlySet<string> = new Set(['28B9', '2EA1', '6A70', 'D6D5']);

/** The settings of a server, and the audits that it may fail. */
const SERVERS: Readonly<Record<string, { settings: Record<string, string>; mayFail: ReadonlySet<string> }>> =
  {
    'in development': { settings: { NODE_ENV: 'development' }, mayFail: new Set() },
    'in production': { settings: {}, mayFail: INTROSPECTION_AUDITS },
    'in production with introspection': { settings: { INTROSPECTION: 'on' }, mayFail: new Set() },
  };

/** The audits of the working group for GraphQL over HTTP, which the package graphql-http brings. */
const audits = serverAudits({ url: () => url });
let url = '';

describe.each(Object.keys(SERVERS))('%s, GraphQL over HTTP', (name) => {
  const { settings, mayFail } = SERVERS[name] as (typeof SERVERS)[string];
  let database: TestDatabase;
  let server: ServerProcess;

  beforeAll(async () => {
    database = await createDatabase();
    server = await startServerProcess({ DATABASE_URL: database.url, REDIS_URL: 'off', ...settings });
    ({ url } = server);
  });

  afterAll(async () => {
    await server?.end('SIGTERM');
    await database?.drop();
  });

  test.each(
    audits.filter(({ id }) => !mayFail.has(id)).map((audit) => [audit.id, audit.name, audit] as const),
  )('%s: %s', async (_id, _name, audit) => {
    expect(await audit.fn()).toMatchObject({ status: 'ok' });
  });

  test.each(['application/json', '*/*', undefined])(
    'a refused document or variable is 200 with errors for a client that accepts %s, and 400 for others',
    async (accept) => {
      for (const body of [
        { query: '{ me {' },
        { query: '{ nothing }' },
        { query: 'query A { __typename } query B { __typename }' },
        { query: 'query ($id: ID!) { bot(id: $id) { id } }', variables: {} },
        { query: `{ ${Array.from({ length: 61 }, (_, n) => `a${n}: __typename`).join(' ')} }` },
      ]) {
        const ask = async (type: string | undefined) =>
          await fetch(url, {
            method: 'POST',
            headers: { 'content-type': 'application/json', ...(type === undefined ? {} : { accept: type }) },
            body: JSON.stringify(body),
          });
        const [legacy, modern] = [await ask(accept), await ask('application/graphql-response+json')];
        expect([legacy.status, modern.status]).toEqual([200, 400]);
        const answer = (await legacy.json()) as Record<string, unknown>;
        expect(Object.keys(answer)).toEqual(['errors']);
        expect(await modern.json()).toEqual(answer);
      }
    },
  );

  test('a request that is not well-formed is 400 for every client', async () => {
    for (const accept of ['application/json', 'application/graphql-response+json']) {
      for (const body of ['{', '[]', '{}', '{"query": 5}', '{"query": "{ __typename }", "variables": "x"}']) {
        const { status } = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', accept },
          body,
        });
        expect([accept, body, status]).toEqual([accept, body, 400]);
      }
    }
  });
});
