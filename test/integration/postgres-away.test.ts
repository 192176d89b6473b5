import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { MeDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** Far longer than a connection may pause, and far shorter than the driver would let it pause by itself (ms). */
const SOON_MS = 5_000;
const FAILED_REQUESTS = 40;

describe('while PostgreSQL cannot be reached', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let app: TestApp;
  let token: string;

  beforeAll(async () => {
    database = await createDatabase();
    proxy = await TcpProxy.before(database.url);
    ({ token } = await addUser(database.sql, {}));
    app = await startApp({ DATABASE_URL: proxy.url });
  });

  afterAll(async () => {
    await app?.close();
    proxy?.close();
    await database?.drop();
  });

  test('requests fail, masked, and are answered again soon after it can be, however many have failed', async () => {
    const client = app.client(token);
    expect(await client.ask(MeDocument, {})).toMatchObject({ me: { memberships: [] } });
    proxy.refuse();
    for (let i = 0; i < FAILED_REQUESTS; i++) {
      expect((await client.failure(MeDocument, {})).code).toBe('INTERNAL_SERVER_ERROR');
    }
    await proxy.resume();
    await eventually(async () => (await client.send(MeDocument, {})).errors === undefined, SOON_MS);
  });
});
