import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { ask, codesIn } from '../support/http.js';
import { startApp, type TestApp } from '../support/app.js';
import { createFixture, type Fixture } from './fixture.js';

const QUERY = `?query=${encodeURIComponent('{ __typename }')}`;

let fixture: Fixture;
let closed: TestApp;

beforeAll(async () => {
  fixture = await createFixture({ CORS_ORIGIN: 'https://app.example' });
  closed = await startApp({ DATABASE_URL: fixture.database.url, NODE_ENV: 'production' });
});

afterAll(async () => {
  await closed?.close();
  await fixture?.close();
});

describe('no browser takes an answer for something else:', () => {
  test.each([
    ['an answer', `/graphql${QUERY}`, 'GET', 200],
    ['a refusal', '/graphql', 'POST', 415],
    ['an unknown path', '/nothing', 'GET', 404],
    ['another method', '/graphql', 'DELETE', 405],
    ['a path that cannot be decoded', '/graphql/%ff', 'GET', 400],
    ['health', '/readyz', 'GET', 200],
    ['metrics', '/metrics', 'GET', 200],
  ])('%s', async (_what, path, method, status) => {
    const answer = await ask(new URL(path, fixture.app.url), { method });
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject({
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cross-origin-resource-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'x-content-type-options': 'nosniff',
    });
  });
});

describe('a query by GET', () => {
  const get = async (app: TestApp, headers: Record<string, string>) =>
    await ask(`${app.url}${QUERY}`, { headers });

  test.each<[string, Record<string, string>]>([
    ['a program', {}],
    ['a person who enters the address', { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }],
    ['a page of this server', { 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors' }],
    ['a program that sends what browsers send', { 'sec-fetch-mode': 'cors' }],
    ['an allowed page', { 'sec-fetch-site': 'cross-site', origin: 'https://app.example' }],
    ['an allowed page in an old browser', { origin: 'https://app.example' }],
    [
      'a page with a token, which needs a preflight',
      { 'sec-fetch-site': 'cross-site', authorization: 'Bearer x' },
    ],
  ])('of %s is answered', async (_who, headers) => {
    expect(await get(fixture.app, headers)).toMatchObject({
      status: 200,
      text: '{"data":{"__typename":"Query"}}\n',
    });
  });

  test.each<[string, Record<string, string>]>([
    ['an image', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }],
    ['a link', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
    ['a form of a neighbour', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate' }],
    [
      'a script',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', origin: 'https://other.example' },
    ],
    ['a script in an old browser', { origin: 'https://other.example' }],
    ['a frame without an origin', { origin: 'null' }],
  ])('that %s of another site sends is refused', async (_what, headers) => {
    for (const app of [fixture.app, closed]) {
      const answer = await get(app, headers);
      expect([answer.status, codesIn(answer)]).toEqual([403, ['FORBIDDEN']]);
    }
  });
});
