import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { signToken } from '../../src/auth/sign-token.js';
import { readConfig } from '../../src/config.js';
import { startApp, type TestApp } from '../support/app.js';
import { begin } from '../support/http.js';
import { addUser, SECRET } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { eventually } from '../support/eventually.js';

const ALLOWED = 5;
const SENT = 60;
// On a busy machine the requests of one test may be spread over three or four seconds.
const MANY = SENT - 5 * ALLOWED;

let database: TestDatabase;
let app: TestApp;

beforeAll(async () => {
  database = await createDatabase();
  app = await startApp({
    DATABASE_URL: database.url,
    RATE_LIMIT_PER_SECOND: String(ALLOWED),
    TRUST_PROXY: '127.0.0.1',
  });
});

afterAll(async () => {
  await app?.close();
  await database?.drop();
});

let addresses = 0;
/** The headers of a proxy, for a client of its own. */
const fromNewAddress = (): Record<string, string> => ({
  'x-forwarded-for': `192.0.2.${++addresses}`,
});

interface Sent {
  readonly authorization?: string | undefined;
  readonly path?: string;
  readonly forwarded?: Record<string, string>;
}

/** Sends a request. @returns its status */
async function send({ authorization, path = '/graphql', forwarded = {} }: Sent, to = app): Promise<number> {
  const { request, answer } = begin(to.url, {
    method: 'POST',
    path,
    headers: {
      'content-type': 'application/json',
      ...(authorization === undefined ? {} : { authorization }),
      ...forwarded,
    },
  });
  request.end('{"query":"{ me { id } }"}');
  return (await answer).status;
}

/** Sends concurrent requests. @returns the number of refused requests */
async function refusedOf(sent: (i: number) => Sent, to?: TestApp): Promise<number> {
  const statuses = await Promise.all(Array.from({ length: SENT }, async (_, i) => await send(sent(i), to)));
  return statuses.filter((status) => status === 429).length;
}

describe('the rate limit counts as one caller', () => {
  test('a user, however they write the header, with whichever token, from wherever', async () => {
    const { id } = await addUser(database.sql);
    const tokens = await Promise.all(
      ['a', 'b', 'c'].map(async (audience) => await signToken(SECRET, id, { audience })),
    );
    const schemes = ['Bearer', 'bearer', 'BEARER', 'bEaReR'];
    const refused = await refusedOf((i) => ({
      authorization: `${schemes[i % schemes.length]}${' '.repeat(1 + (i % 7))}${tokens[i % tokens.length]}`,
      forwarded: fromNewAddress(),
    }));
    expect(refused).toBeGreaterThanOrEqual(MANY);
  });

  test('a user, however they write the path', async () => {
    const { token } = await addUser(database.sql);
    const paths = ['/graphql', '/graphql/', '/%67raphql', '/graphq%6C/', '/graphql?a=1', '/%67%72aphql'];
    const authorization = `Bearer ${token}`;
    const refused = await refusedOf((i) => ({ authorization, path: paths[i % paths.length] as string }));
    expect(refused).toBeGreaterThanOrEqual(MANY);
  });

  test('an address without valid tokens, whatever it sends in place of them', async () => {
    const { id, token } = await addUser(database.sql);
    const forged = await signToken('a secret that is not the one of the server', id);
    const headers = [
      () => undefined,
      () => `Bearer ${randomUUID()}`,
      () => `Basic ${randomUUID()}`,
      () => `Bearer ${forged}${randomUUID()}`,
      () => randomUUID(),
    ];
    const forwarded = fromNewAddress();
    const refused = await refusedOf((i) => ({ authorization: headers[i % headers.length]?.(), forwarded }));
    expect(refused).toBeGreaterThanOrEqual(MANY);
    // They do not count against callers with a known token at the same address, nor against other addresses.
    expect(await send({ authorization: `Bearer ${token}`, forwarded: fromNewAddress() })).toBe(200);
    expect(await send({ authorization: `Bearer ${token}`, forwarded })).toBe(200);
    expect(await send({ forwarded: fromNewAddress() })).toBe(200);
  });

  test('an address that adds addresses in front of its own', async () => {
    const own = `192.0.2.${++addresses}`;
    const refused = await refusedOf((i) => ({ forwarded: { 'x-forwarded-for': `10.9.8.${i}, ${own}` } }));
    expect(refused).toBeGreaterThanOrEqual(MANY);
  });

  test('all addresses of an IPv6 network', async () => {
    const refused = await refusedOf((i) => ({
      forwarded: { 'x-forwarded-for': `2001:db8:0:${i % 2 ? '0' : ''}7::${i.toString(16)}` },
    }));
    expect(refused).toBeGreaterThanOrEqual(MANY);
    expect(await send({ forwarded: { 'x-forwarded-for': '2001:db8:0:8::1' } })).toBe(200);
  });
});

describe('the rate limit', () => {
  test('keeps nobody from getting in who shares the address of a flood without tokens', async () => {
    const forwarded = fromNewAddress();
    expect(await refusedOf(() => ({ forwarded }))).toBeGreaterThanOrEqual(MANY);
    const { token } = await addUser(database.sql);
    expect(await send({ authorization: `Bearer ${token}`, forwarded })).toBe(200);
  });

  test('does not verify unknown tokens of an address that sent too many invalid ones', async () => {
    const forwarded = fromNewAddress();
    const authorization = await eventually(async () => {
      const { token } = await addUser(database.sql);
      await refusedOf(() => ({ authorization: `Bearer ${randomUUID()}`, forwarded }));
      // On a busy machine the address may be allowed to try again by then.
      expect(await send({ authorization: `Bearer ${token}`, forwarded })).toBe(429);
      return `Bearer ${token}`;
    });
    await eventually(async () => expect(await send({ authorization, forwarded })).toBe(200));
  });

  test('refuses a body before it is read, and says when to come again', async () => {
    const forwarded = fromNewAddress();
    const begun = Array.from({ length: SENT }, () =>
      begin(app.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': '50000', ...forwarded },
      }),
    );
    // The allowed ones wait for their bodies.
    const { status, headers, text } = await Promise.race(begun.map(async ({ answer }) => await answer));
    for (const { request } of begun) request.destroy();
    expect(status).toBe(429);
    expect(headers).toMatchObject({
      'retry-after': '1',
      'x-ratelimit-limit': String(ALLOWED),
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': '1',
    });
    expect(JSON.parse(text)).toEqual({
      errors: [{ message: expect.stringMatching(/Too many/), extensions: { code: 'RATE_LIMITED' } }],
    });
  });

  test('without TRUST_PROXY does not believe what a client says of its address', async () => {
    const direct = await startApp({ DATABASE_URL: database.url, RATE_LIMIT_PER_SECOND: String(ALLOWED) });
    try {
      const refused = await refusedOf(() => ({ forwarded: fromNewAddress() }), direct);
      expect(refused).toBeGreaterThanOrEqual(MANY);
    } finally {
      await direct.close();
    }
  });

  test.each([
    ['production', undefined, 100],
    ['production', '0', 0],
    ['production', '7', 7],
    ['development', undefined, 0],
  ])('in %s with RATE_LIMIT_PER_SECOND=%s is %d', (environment, given, expected) => {
    const { http } = readConfig({
      NODE_ENV: environment,
      DATABASE_URL: database.url,
      REDIS_URL: 'off',
      JWT_SECRET: SECRET,
      RATE_LIMIT_PER_SECOND: given,
    });
    expect(http.rateLimitPerSecond).toBe(expected);
  });
});

describe('several processes', () => {
  let redis: RedisService;
  let apps: TestApp[];

  beforeAll(async () => {
    redis = await createRedis();
    const settings = {
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      RATE_LIMIT_PER_SECOND: String(ALLOWED),
      CACHE_PREFIX: 'of-this-test:',
    };
    apps = await Promise.all([1, 2, 3].map(async () => await startApp(settings)));
  });

  afterAll(async () => {
    for (const each of apps ?? []) await each.close();
    await redis?.stop();
  });

  test('keep a caller to the rate together, however many of them are asked', async () => {
    const { token } = await addUser(database.sql);
    const startedAt = performance.now();
    const elapsed = () => (performance.now() - startedAt) / 1_000;
    const flood = async (to: TestApp) => {
      let allowed = 0;
      while (elapsed() < 5) if ((await send({ authorization: `Bearer ${token}` }, to)) === 200) allowed++;
      return allowed;
    };
    const allowed = (await Promise.all(apps.map(flood))).reduce((sum, each) => sum + each, 0);
    // A second's worth of each process at first, and what each allows until it learns of the others.
    expect(allowed).toBeLessThanOrEqual(ALLOWED * (elapsed() + apps.length));
    expect(allowed).toBeGreaterThanOrEqual(apps.length * ALLOWED);
  }, 30_000);

  test('limit by themselves while Redis is frozen, and no request waits for it', async () => {
    redis.freeze();
    try {
      for (const to of apps) {
        const { token } = await addUser(database.sql);
        const refused = await refusedOf(() => ({ authorization: `Bearer ${token}` }), to);
        expect(refused).toBeGreaterThanOrEqual(MANY);
        expect(refused).toBeLessThanOrEqual(SENT - ALLOWED);
      }
    } finally {
      redis.thaw();
    }
  });
});
