import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { signToken } from '../../src/auth/sign-token.js';
import { startApp, type TestApp } from '../support/app.js';
import { addUser, SECRET } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const ALLOWED = 5;
const SENT = 40;

describe('the rate limit counts as one caller', () => {
  let database: TestDatabase;
  let app: TestApp;

  beforeAll(async () => {
    database = await createDatabase();
    app = await startApp({ DATABASE_URL: database.url, RATE_LIMIT_PER_SECOND: String(ALLOWED) });
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  /** Sends concurrent requests, each with its header and path. @returns the number of refused requests */
  async function refusedOf(
    authorization: (i: number) => string | undefined,
    path: (i: number) => string = () => '/graphql',
  ): Promise<number> {
    const statuses = await Promise.all(
      Array.from({ length: SENT }, async (_, i) => {
        const header = authorization(i);
        const response = await fetch(new URL(app.url).origin + path(i), {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            ...(header === undefined ? {} : { authorization: header }),
          },
          body: '{"query":"{ me { id } }"}',
        });
        await response.text();
        return response.status;
      }),
    );
    return statuses.filter((status) => status === 429).length;
  }

  // On a busy machine the requests of one test may be spread over two or three seconds.
  const MANY = SENT - 3 * ALLOWED;

  test('a user, however they write the header, and with whichever of their tokens', async () => {
    const { id } = await addUser(database.sql);
    const tokens = await Promise.all(
      ['a', 'b', 'c'].map(async (audience) => await signToken(SECRET, id, { audience })),
    );
    const schemes = ['Bearer', 'bearer', 'BEARER', 'bEaReR'];
    const header = (i: number) =>
      `${schemes[i % schemes.length]}${' '.repeat(1 + (i % 7))}${tokens[i % tokens.length]}`;
    expect(await refusedOf(header)).toBeGreaterThanOrEqual(MANY);
  });

  test('a user, however they write the path', async () => {
    const { token } = await addUser(database.sql);
    const paths = ['/graphql', '/graphql/', '/%67raphql', '/graphq%6C/', '/graphql?a=1', '/%67%72aphql'];
    const refused = await refusedOf(
      () => `Bearer ${token}`,
      (i) => paths[i % paths.length] as string,
    );
    expect(refused).toBeGreaterThanOrEqual(MANY);
  });

  test('an address without valid tokens, whatever it sends in place of them', async () => {
    const { id } = await addUser(database.sql);
    const forged = await signToken('a secret that is not the one of the server', id);
    const headers = [
      () => undefined,
      () => `Bearer ${randomUUID()}`,
      () => `Basic ${randomUUID()}`,
      () => `Bearer ${forged}${randomUUID()}`,
      () => randomUUID(),
    ];
    const refused = await refusedOf((i) => headers[i % headers.length]?.());
    expect(refused).toBeGreaterThanOrEqual(MANY);
    // Requests without a token do not count against callers with a token at the same address.
    const { token } = await addUser(database.sql);
    expect((await app.client(token).sendText('{ __typename }')).status).toBe(200);
  });
});
