import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { begin } from '../support/http.js';
import { createFixture, type Fixture } from './fixture.js';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

const ask = async (path: string, init: RequestInit = {}) => {
  const response = await fetch(new URL(path, fixture.app.url), {
    ...init,
    headers: { authorization: `Bearer ${fixture.viewer.token}`, accept: 'application/json', ...init.headers },
  });
  return { response, text: await response.text() };
};

/** Sends headers, and waits for the answer before it sends a body. */
const askRaw = async (url: string | URL, options: Parameters<typeof begin>[1]) => {
  const { request, answer } = begin(url, options);
  const answered = await answer;
  request.destroy();
  return answered;
};

describe('a slash at the end of a path changes nothing', () => {
  test('of queries by POST and GET', async () => {
    const query = '{ me { __typename } }';
    const expected = `{"data":{"me":{"__typename":"User"}}}\n`;
    const post = await ask('/graphql/', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
    expect([post.response.status, post.text]).toEqual([200, expected]);
    const get = await ask(`/graphql/?${String(new URLSearchParams({ query }))}`);
    expect([get.response.status, get.text]).toEqual([200, expected]);
  });

  test('of OPTIONS, with the headers of a preflight or without', async () => {
    for (const path of ['/graphql', '/graphql/']) {
      const preflight = await ask(path, {
        method: 'OPTIONS',
        headers: { origin: 'https://a.example', 'access-control-request-method': 'POST' },
      });
      expect(preflight.response.status).toBe(204);
      expect((await ask(path, { method: 'OPTIONS' })).response.status).toBe(204);
    }
  });

  test('of the playground', async () => {
    const { response, text } = await ask('/graphql/', { headers: { accept: 'text/html' } });
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'text/html; charset=utf-8',
    ]);
    expect(text).toMatch(/<html/i);
  });

  test.each(['/healthz/', '/readyz/', '/metrics/'])('of %s', async (path) => {
    const [with_, without] = [await ask(path), await ask(path.slice(0, -1))];
    expect(with_.response.status).toBe(200);
    expect(with_.response.headers.get('content-type')).toBe(without.response.headers.get('content-type'));
  });

  test('in the metrics: both are one route', async () => {
    const count = async (route: string) =>
      await fixture.app.metric('flovo_http_request_duration_seconds_count', { route });
    const before = await count('/graphql');
    await ask('/graphql/?query={__typename}');
    expect(await count('/graphql')).toBe(before + 1);
    expect(await count('/graphql/')).toBe(0);
  });
});

describe('every failure has one shape, with a code', () => {
  const expectShape = (text: string, code: string) => {
    expect(JSON.parse(text)).toEqual({
      errors: [{ message: expect.stringMatching(/^[^\n]{1,500}$/), extensions: { code } }],
    });
  };

  test.each([
    ['GET', '/other'],
    ['GET', '/graphql/other'],
    ['GET', '//graphql'],
    ['GET', '/Graphql'],
    ['GET', `/${'x'.repeat(300)}`],
  ])('%s %s, where there is nothing', async (method, path) => {
    const { response, text } = await ask(new URL(fixture.app.url).origin + path, { method });
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expectShape(text, 'NOT_FOUND');
  });

  test.each([
    ['PUT', '/graphql', 'GET, POST'],
    ['DELETE', '/graphql/', 'GET, POST'],
    ['PATCH', '/%67raphql?query={__typename}', 'GET, POST'],
    ['PROPFIND', '/graphql', 'GET, POST'],
    ['QUERY', '/graphql', 'GET, POST'],
    ['POST', '/', 'GET, HEAD'],
    ['POST', '/healthz', 'GET, HEAD'],
    ['POST', '/readyz', 'GET, HEAD'],
    ['DELETE', '/metrics', 'GET, HEAD'],
    ['POST', '/console', 'GET, HEAD'],
    ['PUT', '/console/console.js', 'GET, HEAD'],
    ['GET', '/admin/cache/invalidate', 'POST'],
  ])('%s %s, where there are other methods', async (method, path, allow) => {
    const { status, headers, text } = await askRaw(new URL(path, fixture.app.url), {
      method,
      headers: { 'content-type': 'text/plain', 'content-length': '1000' },
    });
    // The body is not waited for.
    expect(status).toBe(405);
    expect(headers.allow).toBe(allow);
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expectShape(text, 'BAD_USER_INPUT');
  });

  test('HEAD of /graphql, which has no body', async () => {
    const { status, headers, text } = await askRaw(fixture.app.url, { method: 'HEAD' });
    expect([status, headers.allow, text]).toEqual([405, 'GET, POST', '']);
  });

  test('a path that cannot be decoded', async () => {
    const { response, text } = await ask('/graphql/%ff');
    expect(response.status).toBe(400);
    expectShape(text, 'BAD_USER_INPUT');
    expect(text).not.toMatch(/FST_/);
  });

  test.each([
    [
      'a change by GET',
      405,
      'GET',
      `?query=${encodeURIComponent('mutation { startBot(id: "x") { id } }')}`,
      {},
    ],
    ['no query', 400, 'GET', '', {}],
    ['a type that there is not', 406, 'GET', '?query={__typename}', { accept: 'text/event-stream' }],
    ['no body', 400, 'POST', '', { 'content-type': 'application/json' }],
    ['a body of another type', 415, 'POST', '', { 'content-type': 'text/plain', 'content-encoding': 'gzip' }],
  ])('of /graphql: %s', async (_what, status, method, search, headers) => {
    const { response, text } = await ask(`/graphql${search}`, { method, headers });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expectShape(text, expect.stringMatching(/^[A-Z_]+$/) as unknown as string);
  });

  /** Sends bytes that no HTTP client would send. @returns the head and the body of the response */
  async function sendRaw(bytes: string): Promise<{ head: string; body: string }> {
    const { hostname, port } = new URL(fixture.app.url);
    const socket = connect(Number(port), hostname);
    let answer = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined);
    socket.write(bytes);
    await once(socket, 'close');
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    return { head, body };
  }

  test.each([
    ['no HTTP', 'nonsense\r\n\r\n', 400],
    [
      'headers that are too large',
      `GET /graphql HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(40_000)}\r\n\r\n`,
      431,
    ],
    ['no host', 'GET /graphql HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    [
      'an unknown expectation',
      'POST /graphql HTTP/1.1\r\nhost: x\r\nexpect: a miracle\r\ncontent-length: 5\r\n\r\n',
      417,
    ],
    [
      'two lengths',
      'POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
      400,
    ],
  ])('a request that is not HTTP: %s', async (_what, bytes, status) => {
    const { head, body } = await sendRaw(bytes);
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(head).toMatch(/^content-type: application\/json/im);
    expect(head).toMatch(/^connection: close$/im);
    expectShape(body, 'BAD_USER_INPUT');
  });
});
