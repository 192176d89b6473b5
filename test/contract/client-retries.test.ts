import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { safeRetries } from '../../examples/clients/apollo-link.js';
import { FetchClient } from '../../examples/clients/fetch-client.js';
import { createFixture, type Fixture } from './fixture.js';

/** What happens to an attempt: the server executes it or not, and the client gets its answer or something else. */
type Fault = (attempt: {
  readonly forward: () => Promise<{ readonly status: number; readonly body: string }>;
  readonly response: ServerResponse;
}) => Promise<void>;

const lostBefore: Fault = async ({ response }) => {
  await Promise.resolve();
  response.socket?.destroy();
};
const lostAfter: Fault = async ({ forward, response }) => {
  await forward();
  response.socket?.destroy();
};
const unavailable: Fault = async ({ forward, response }) => {
  await forward();
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end('{"errors":[{"message":"away","extensions":{"code":"UNAVAILABLE","retryable":true}}],"data":null}');
};
const badGateway: Fault = async ({ response }) => {
  await Promise.resolve();
  response.writeHead(502, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>');
};

const CREATE = 'mutation Create($input: CreateBotInput!) { createBot(input: $input) { id name } }';

/** A server in front of the API, with a fault for each of the first attempts. */
describe('the example clients send failed requests again', () => {
  let fixture: Fixture;
  let server: Server;
  let url: string;
  let faults: Fault[];
  let keys: (string | undefined)[];

  beforeAll(async () => {
    fixture = await createFixture();
    server = createServer((request, response) => {
      void pass(request, response);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`;
  });

  afterAll(async () => {
    server?.closeAllConnections();
    server?.close();
    await fixture?.close();
  });

  beforeEach(() => {
    faults = [];
    keys = [];
  });

  afterEach(async () => {
    await fixture.database.sql`delete from bots`;
  });

  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const sent = await text(request);
    const { 'idempotency-key': key, authorization } = request.headers;
    keys.push(key as string | undefined);
    const forward = async () => {
      const answer = await fetch(fixture.app.url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: String(authorization),
          ...(typeof key === 'string' ? { 'idempotency-key': key } : {}),
        },
        body: sent,
      });
      return { status: answer.status, body: await answer.text() };
    };
    const fault = faults.shift();
    if (fault) return await fault({ forward, response });
    const { status, body } = await forward();
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  };

  const headers = () => ({ authorization: `Bearer ${fixture.editor.token}` });

  const CLIENTS: readonly [
    string,
    () => { create(name: string): Promise<unknown>; list(): Promise<unknown> },
  ][] = [
    [
      'fetch',
      () => {
        const client = new FetchClient({ url, headers });
        return {
          create: async (name) =>
            (await client.mutate(CREATE, { input: { orgId: fixture.orgId, name } })).data,
          list: async () => (await client.query('{ me { id } }')).data,
        };
      },
    ],
    [
      'Apollo Client',
      () => {
        const link = safeRetries(new HttpLink({ uri: url, headers: headers() }));
        const client = new ApolloClient({ link, cache: new InMemoryCache() });
        return {
          create: async (name) => {
            const variables = { input: { orgId: fixture.orgId, name } };
            return (await client.mutate({ mutation: gql(CREATE), variables })).data;
          },
          list: async () => (await client.query({ query: gql('{ me { id } }') })).data,
        };
      },
    ],
  ];

  describe.each(CLIENTS)('%s', (_name, connect) => {
    test('a mutation is made once, and its attempts have the same key', async () => {
      faults = [lostBefore, lostAfter, unavailable, badGateway];
      const client = connect();
      expect(await client.create('once')).toMatchObject({ createBot: { name: 'once' } });
      expect(await fixture.database.sql`select from bots`).toHaveLength(1);
      expect(keys).toHaveLength(5);
      expect(new Set(keys).size).toBe(1);
      expect(keys[0]).toMatch(/^[\da-f-]{36}$/);
      await client.create('another');
      expect(keys.at(-1)).not.toBe(keys[0]);
    });

    test('a query is sent again, without a key', async () => {
      faults = [lostBefore, unavailable];
      expect(await connect().list()).toMatchObject({ me: { id: expect.any(String) } });
      expect(keys).toEqual([undefined, undefined, undefined]);
    });

    test('a request that was refused is not sent again', async () => {
      await connect()
        .create('')
        .catch(() => undefined);
      expect(keys).toHaveLength(1);
    });
  });
});
