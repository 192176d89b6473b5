import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { ask } from '../support/http.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const TOKEN = 'the-token-of-the-owner';

describe('the page with the token of the demo owner', () => {
  let database: TestDatabase;
  let app: TestApp;
  let port: string;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp(
      { DATABASE_URL: database.url, NODE_ENV: 'development' },
      { playground: { defaultQuery: '{ __typename }', headers: JSON.stringify({ Authorization: TOKEN }) } },
    );
    ({ port } = new URL(app.url));
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const open = async (headers: Record<string, string>) => {
    const answer = await ask(app.url, { headers: { accept: 'text/html', ...headers } });
    expect(answer.status).toBe(200);
    expect(answer.text).toMatch(/<html/i);
    // Although any page may read the answers of the API.
    for (const name of Object.keys(answer.headers)) expect(name).not.toMatch(/^access-control-/);
    expect(answer.headers['cross-origin-resource-policy']).toBe('same-origin');
    expect(answer.headers['content-security-policy']).toMatch(/frame-ancestors 'none'/);
    expect(answer.headers['cache-control']).toBe('no-store');
    return answer.text.includes(TOKEN);
  };

  test.each<[string, Record<string, string>]>([
    ['without these headers', {}],
    ['by an address that was entered', { 'sec-fetch-site': 'none' }],
    ['by a link of the page itself', { 'sec-fetch-site': 'same-origin' }],
    ['as localhost', { host: 'localhost' }],
    ['as a name below localhost', { host: 'bots.localhost:80' }],
    ['as another loopback address', { host: '127.1.2.3' }],
    ['as an IPv6 address', { host: '[::1]:4000' }],
  ])('is shown on this machine: %s', async (_how, headers) => {
    expect(await open(headers)).toBe(true);
  });

  test.each<[string, Record<string, string>]>([
    ['to a script of another site', { origin: 'https://attacker.example', 'sec-fetch-site': 'cross-site' }],
    ['to a script of another site in an old browser', { origin: 'https://attacker.example' }],
    ['to a page of another port', { 'sec-fetch-site': 'same-site' }],
    ['to a frame of another site', { 'sec-fetch-site': 'cross-site', 'sec-fetch-dest': 'iframe' }],
    ['under a name that leads here', { host: 'attacker.example' }],
    ['under a name that looks like an address', { host: '127.0.0.1.attacker.example' }],
    ['to another machine', { host: '10.0.0.5' }],
  ])('is shown without the token %s', async (_how, headers) => {
    const host = headers.host === undefined ? {} : { host: `${headers.host}:${port}` };
    expect(await open({ ...headers, ...host })).toBe(false);
  });
});
