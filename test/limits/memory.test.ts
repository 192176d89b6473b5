import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SignJWT } from 'jose';

import { addBots, addOrganization, addUser, SECRET } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

/** A heap in which the server can run, and which these requests would fill many times over if they were retained. */
const HEAP_MB = 160;

/** Caches of values that clients choose are bounded: endless distinct requests do not fill the memory. */
describe('the memory of a server', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let server: ServerProcess;
  let userId: string;
  let token: string;
  let orgId: string;

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    await addBots(database.sql, orgId, 3);
    ({ id: userId, token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      RESPONSE_CACHE_MB: '8',
      NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
    });
  });

  afterAll(async () => {
    await server?.end('SIGTERM');
    await redis?.stop();
    await database?.drop();
  });

  const post = async (body: object, authorization: string | undefined) => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(authorization ? { authorization } : {}) },
      body: JSON.stringify(body),
    });
    return await response.text();
  };
  const inTurns = async (count: number, send: (i: number) => Promise<unknown>) => {
    for (let i = 0; i < count; i += 20) {
      await Promise.all(Array.from({ length: 20 }, async (_, j) => await send(i + j)));
    }
  };
  /** About 600 tokens; parsed, they take about 200 kB. */
  const largeDocument = (i: number, marker = '') =>
    `query Q${i}${marker} { me { id } ${Array.from({ length: 50 }, (_, j) => `a${j}_${i}: me { id name email __typename }`).join(' ')} }`;

  test('does not fill with distinct documents, of callers with a token or without', async () => {
    await inTurns(800, async (i) => await post({ query: largeDocument(i) }, `Bearer ${token}`));
    await inTurns(800, async (i) => await post({ query: largeDocument(i, 'anonymous') }, undefined));
    expect(server.child.exitCode).toBeNull();
    expect(await post({ query: '{ me { id } }' }, `Bearer ${token}`)).toContain(userId);
  }, 300_000);

  test('does not fill with names of operations', async () => {
    const operationName = (i: number) => `${i}${'x'.repeat(400_000)}`;
    for (const authorization of [`Bearer ${token}`, undefined]) {
      await inTurns(
        400,
        async (i) => await post({ query: '{ me { id } }', operationName: operationName(i) }, authorization),
      );
    }
    expect(server.child.exitCode).toBeNull();
  }, 300_000);

  test('does not fill with tokens, searches, ids and Accept headers', async () => {
    await inTurns(600, async (i) => {
      const long = await new SignJWT({ jti: `${i}${'x'.repeat(10_000)}` })
        .setProtectedHeader({ alg: 'HS256' })
        .setSubject(userId)
        .setExpirationTime('1h')
        .sign(new TextEncoder().encode(SECRET));
      await post({ query: '{ me { id } }' }, `Bearer ${long}`);
      await post(
        {
          query:
            'query ($org: ID!, $search: String, $id: ID!) { bots(orgId: $org, search: $search) { total } bot(id: $id) { id } }',
          variables: { org: orgId, search: `${i}${'y'.repeat(190)}`, id: randomUUID() },
        },
        `Bearer ${token}`,
      );
      await fetch(server.url, { headers: { accept: `text/${i}${'z'.repeat(10_000)}` } }).then(
        async (response) => await response.text(),
      );
    });
    expect(server.child.exitCode).toBeNull();
    expect(await post({ query: '{ me { id } }' }, `Bearer ${token}`)).toContain(userId);
  }, 300_000);
});
