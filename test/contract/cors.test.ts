import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { startApp, type TestApp } from '../support/app.js';
import { SECRET } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const configured = (corsOrigin: string) =>
  readConfig({
    NODE_ENV: 'production',
    DATABASE_URL: 'postgres://127.0.0.1/x',
    REDIS_URL: 'off',
    JWT_SECRET: SECRET,
    CORS_ORIGIN: corsOrigin,
  }).http.corsOrigin;

describe('CORS_ORIGIN is read as browsers write origins', () => {
  test.each([
    ['a trailing slash', 'https://app.example/', ['https://app.example']],
    ['upper case', 'HTTPS://App.Example', ['https://app.example']],
    ['the default port of https', 'https://app.example:443', ['https://app.example']],
    ['the default port of http', 'http://app.example:80/', ['http://app.example']],
    ['another port', 'http://localhost:3000/', ['http://localhost:3000']],
    ['an IPv6 address', 'http://[::1]:3000', ['http://[::1]:3000']],
    ['a name outside the ASCII', 'https://bücher.example', ['https://xn--bcher-kva.example']],
    ['several', 'https://a.example/,https://b.example', ['https://a.example', 'https://b.example']],
    [
      'several, with blanks, lines and a comma at the end',
      ' https://a.example/ ,\n\thttps://b.example , ',
      ['https://a.example', 'https://b.example'],
    ],
    [
      'several, separated by blanks',
      'https://a.example https://b.example',
      ['https://a.example', 'https://b.example'],
    ],
    ['the same one again', 'https://a.example,https://a.example/', ['https://a.example']],
    ['the scheme of an app', 'capacitor://localhost/', ['capacitor://localhost']],
    ['an extension', 'chrome-extension://AbC', ['chrome-extension://abc']],
  ])('%s', (_what, given, origins) => {
    expect(configured(given)).toEqual(origins);
  });

  test('* allows all origins', () => {
    expect(configured('*')).toBe('*');
    expect(configured(' * ')).toBe('*');
  });
});

describe('a CORS_ORIGIN that no browser can match stops the start, with an error that names it and the mistake', () => {
  test.each([
    ['no scheme', 'app.example', /"app\.example", .*https:\/\/ or http:\/\//],
    ['a host and a port', 'localhost:3000', /"localhost:3000", .*https:\/\/ or http:\/\//],
    ['two slashes only', '//app.example', /https:\/\/ or http:\/\//],
    ['quotation marks', '"https://app.example"', /https:\/\/ or http:\/\//],
    ['null', 'null', /null.* any page/],
    ['a path', 'https://app.example/shop', /"https:\/\/app\.example\/shop", .*path/],
    ['two slashes at the end', 'https://app.example//', /path/],
    ['a query', 'https://app.example?x=1', /path/],
    ['a fragment', 'https://app.example/#x', /path/],
    ['a pattern', 'https://*.app.example', /pattern/],
    ['all and one', '*,https://app.example', /pattern|alone/],
    ['a web socket', 'wss://app.example', /page/],
    ['a file', 'file:///index.html', /page|path/],
    ['no host', 'https://', /origin/],
    ['no port that there is', 'https://app.example:70000', /origin/],
    ['nothing but commas', ' , ', /no origin/],
    ['one good and one bad', 'https://a.example, b.example', /"b\.example"/],
  ])('%s: %s', (_what, given, mistake) => {
    let message = '';
    try {
      configured(given);
    } catch (error) {
      message = (error as Error).message;
    }
    const lines = message.split('\n').filter((line) => line.startsWith('  '));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^ {2}CORS_ORIGIN /);
    expect(lines[0]).toMatch(mistake);
  });

  test('a user and a password, which are not repeated', () => {
    expect(() => configured('https://someone:a-password@app.example')).toThrow(/CORS_ORIGIN .*user/);
    expect(() => configured('https://someone:a-password@app.example')).not.toThrow(/a-password/);
  });
});

describe('a browser', () => {
  const origin = 'https://app.example';
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({
      DATABASE_URL: database.url,
      NODE_ENV: 'production',
      CORS_ORIGIN: 'https://App.example:443/',
      RATE_LIMIT_PER_SECOND: '1',
    });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const ask = async (init: RequestInit = {}, path = '/graphql') =>
    await fetch(new URL(path, app.url), { ...init, headers: { origin, ...init.headers } });

  const names = (response: Response, header: string) =>
    (response.headers.get(header) ?? '').toLowerCase().split(/\s*,\s*/);

  test.each(['/graphql', '/graphql/'])(
    "may send clients' headers to %s, and caches the preflight",
    async (path) => {
      const headers = [
        'authorization',
        'content-type',
        'apollo-require-preflight',
        'x-apollo-operation-name',
        'apollographql-client-name',
        'apollographql-client-version',
        'graphql-require-preflight',
        'idempotency-key',
        'x-cache-report',
        'x-request-id',
        'x-request-timeout-ms',
        'traceparent',
        'tracestate',
        'baggage',
      ];
      const response = await ask(
        {
          method: 'OPTIONS',
          headers: {
            'access-control-request-method': 'POST',
            'access-control-request-headers': headers.join(','),
          },
        },
        path,
      );
      expect(response.status).toBe(204);
      expect(response.headers.get('access-control-allow-origin')).toBe(origin);
      expect(names(response, 'access-control-allow-headers')).toEqual(expect.arrayContaining(headers));
      expect(names(response, 'access-control-allow-methods')).toEqual(
        expect.arrayContaining(['get', 'post']),
      );
      expect(Number(response.headers.get('access-control-max-age'))).toBeGreaterThanOrEqual(600);
    },
  );

  test('may read the request id and Retry-After of every response', async () => {
    const post = async () =>
      await ask({
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{"query":"{ __typename }"}',
      });
    const answers = await Promise.all([post(), post(), post(), ask({}, '/nothing')]);
    const limited = answers.find(({ status }) => status === 429);
    expect(limited?.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(answers.map(({ status }) => status)).toEqual(expect.arrayContaining([200, 404]));
    for (const response of answers) {
      expect(response.headers.get('access-control-allow-origin')).toBe(origin);
      const readable = names(response, 'access-control-expose-headers');
      for (const name of [
        'x-request-id',
        'retry-after',
        'x-ratelimit-limit',
        'x-ratelimit-remaining',
        'x-ratelimit-reset',
      ]) {
        expect(readable).toContain(name);
      }
    }
  });
});
