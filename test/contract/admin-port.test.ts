import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { startApp, type TestApp } from '../support/app.js';
import { ask } from '../support/http.js';
import { SECRET } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const TOKEN = 'the-token-of-the-operators-in-this-test';

describe('with ADMIN_PORT', () => {
  let database: TestDatabase;
  let app: TestApp;
  let adminUrl: string;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({
      DATABASE_URL: database.url,
      NODE_ENV: 'production',
      OPERATOR_TOKEN: TOKEN,
      ADMIN_PORT: '0',
    });
    adminUrl = String(app.logs.find(({ msg }) => msg === 'Serving operators')?.url);
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const statusOf = async (base: string, path: string, method = 'GET') =>
    (await ask(new URL(path, base), { method, headers: { authorization: `Bearer ${TOKEN}` } })).status;

  test.each(['/metrics', '/console', '/console/console.js', '/console/state'])(
    '%s is there, and not on the public port',
    async (path) => {
      expect(await statusOf(adminUrl, path)).toBe(200);
      expect(await statusOf(app.url, path)).toBe(404);
    },
  );

  test('values are invalidated there, and not on the public port', async () => {
    // The body is missing.
    expect(await statusOf(adminUrl, '/admin/cache/invalidate', 'POST')).toBe(415);
    expect(await statusOf(app.url, '/admin/cache/invalidate', 'POST')).toBe(404);
  });

  test('health is on both', async () => {
    for (const path of ['/healthz', '/readyz']) {
      expect(await statusOf(adminUrl, path)).toBe(200);
      expect(await statusOf(app.url, path)).toBe(200);
    }
  });

  test('GraphQL is on the public port alone', async () => {
    expect(await statusOf(app.url, '/graphql?query={__typename}')).toBe(200);
    expect(await statusOf(adminUrl, '/graphql?query={__typename}')).toBe(404);
  });

  test('the metrics count the requests of the public port', async () => {
    const { text } = await ask(new URL('/metrics', adminUrl));
    expect(text).toMatch(
      /^flovo_http_request_duration_seconds_count\{route="\/graphql",status="200"\} [1-9]/m,
    );
  });
});

describe('a setting that cannot be used stops the start, with an error that names it:', () => {
  test.each([
    ['ADMIN_PORT', '4000', /differ from PORT/],
    ['ADMIN_PORT', 'x', /whole number/],
    ['TRUST_PROXY', 'true', /"true".* no address/],
    ['TRUST_PROXY', '0.0.0.0/0', /trusts every client/],
    ['TRUST_PROXY', '10.0.0.0/8, ::/0', /trusts every client/],
    ['TRUST_PROXY', '10.0.0.0/33', /no address/],
    ['TRUST_PROXY', '10.0.0', /no address/],
    ['TRUST_PROXY', '0', /from 1 to 10/],
    ['TRUST_PROXY', ' , ', /names no proxy/],
    ['RATE_LIMIT_PER_SECOND', '-1', /at least 0/],
    ['RECEIVE_TIMEOUT_MS', '0', /at least 100/],
  ])('%s=%s', (name, value, mistake) => {
    const read = () =>
      readConfig({
        NODE_ENV: 'production',
        DATABASE_URL: 'postgres://127.0.0.1/x',
        REDIS_URL: 'off',
        JWT_SECRET: SECRET,
        [name]: value,
      });
    expect(read).toThrow(mistake);
    expect(read).toThrow(new RegExp(`^The configuration is not usable:\\n {2}${name} [^\\n]*$`));
  });

  test.each([
    ['10.0.0.1', ['10.0.0.1']],
    ['10.0.0.0/8, fd00::/8 loopback', ['10.0.0.0/8', 'fd00::/8', 'loopback']],
    ['2', 2],
  ])('TRUST_PROXY=%s is read', (value, expected) => {
    const { http } = readConfig({
      DATABASE_URL: 'postgres://127.0.0.1/x',
      REDIS_URL: 'off',
      JWT_SECRET: SECRET,
      TRUST_PROXY: value,
    });
    expect(http.trustedProxies).toEqual(expected);
  });
});
