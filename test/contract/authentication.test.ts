import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type JWK, type JWTHeaderParameters } from 'jose';

import { signToken } from '../../src/auth/sign-token.js';
import { startApp, type TestApp } from '../support/app.js';
import { addUser, SECRET } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { askUntil } from './fixture.js';

let database: TestDatabase;
let userId: string;
const apps: TestApp[] = [];

beforeAll(async () => {
  database = await createDatabase();
  ({ id: userId } = await addUser(database.sql));
});

afterAll(async () => {
  for (const app of apps) await app.close();
  await database?.drop();
});

const start = async (settings: Record<string, string> = {}): Promise<TestApp> => {
  const app = await startApp({ DATABASE_URL: database.url, ...settings });
  apps.push(app);
  return app;
};

/** 'OK', or the code of the refusal, of a request with this `Authorization` header. */
async function outcome(app: TestApp, authorization: string): Promise<string> {
  const response = await fetch(app.url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization },
    body: '{"query":"{ me { id } }"}',
  });
  const { data, errors } = (await response.json()) as {
    data?: { me: { id: string } } | null;
    errors?: { extensions: { code: string } }[];
  };
  if (data?.me.id === userId) return 'OK';
  return errors?.[0]?.extensions.code ?? 'an answer about someone else';
}

const secretKey = new TextEncoder().encode(SECRET);
const token = (header: JWTHeaderParameters = { alg: 'HS256' }) =>
  new SignJWT().setProtectedHeader(header).setSubject(userId).setExpirationTime('1h');

describe('a token signed with the shared secret', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await start();
  });

  test.each([
    ['as it should be', (text: string) => `Bearer ${text}`],
    ['with the scheme in other letters', (text: string) => `bEARER ${text}`],
    ['with blanks around it', (text: string) => `  Bearer   ${text}  `],
  ])('is accepted %s', async (_how, header) => {
    expect(await outcome(app, header(await signToken(SECRET, userId)))).toBe('OK');
  });

  test.each([
    ['without the scheme', (text: string) => text],
    ['with another scheme', (text: string) => `Basic ${text}`],
    ['with something after it', (text: string) => `Bearer ${text} x`],
    ['with one letter more', (text: string) => `Bearer ${text}A`],
    ['with its signature cut off', (text: string) => `Bearer ${text.slice(0, text.lastIndexOf('.') + 1)}`],
    ['with the payload of another', (text: string) => `Bearer ${text.replace(/\.[^.]+\./, '.e30.')}`],
    ['that is empty', () => 'Bearer '],
    ['that is very long', () => `Bearer ${'x'.repeat(10_000)}`],
  ])('is refused %s', async (_how, header) => {
    expect(await outcome(app, header(await signToken(SECRET, userId)))).toBe('UNAUTHENTICATED');
  });

  test('may spell the user in upper case', async () => {
    expect(await outcome(app, `Bearer ${await signToken(SECRET, userId.toUpperCase())}`)).toBe('OK');
  });

  test('is refused with another algorithm, although the secret is the same', async () => {
    const strong = new TextEncoder().encode(SECRET.repeat(2));
    for (const alg of ['HS384', 'HS512']) {
      const signed = await token({ alg }).sign(strong);
      expect(await outcome(app, `Bearer ${signed}`)).toBe('UNAUTHENTICATED');
    }
  });

  test('that was accepted a moment ago is refused once it has expired', async () => {
    // The server allows clocks to differ by 5 s: this token has expired, is still accepted, and soon will not be.
    const expires = Math.floor(Date.now() / 1_000) - 3;
    const authorization = `Bearer ${await token().setExpirationTime(expires).sign(secretKey)}`;
    expect(await outcome(app, authorization)).toBe('OK');
    const last = await askUntil(
      async () => await outcome(app, authorization),
      (code) => code !== 'OK',
      10_000,
    );
    expect(last).toBe('UNAUTHENTICATED');
    expect(Date.now() / 1_000 - expires).toBeGreaterThan(4);
  });
});

describe('the issuer and the audience of a token must be the configured ones', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await start({ JWT_ISSUER: 'https://login.example', JWT_AUDIENCE: 'flovo' });
  });

  test.each([
    ['both', 'https://login.example', 'flovo', 'OK'],
    ['several audiences, of which one is ours', 'https://login.example', ['other', 'flovo'], 'OK'],
    ['another issuer', 'https://evil.example', 'flovo', 'UNAUTHENTICATED'],
    ['another audience', 'https://login.example', 'other', 'UNAUTHENTICATED'],
    ['no audience', 'https://login.example', undefined, 'UNAUTHENTICATED'],
    ['no issuer', undefined, 'flovo', 'UNAUTHENTICATED'],
  ])('with %s: %s, %s is %s', async (_what, issuer, audience, expected) => {
    const made = token();
    if (issuer !== undefined) made.setIssuer(issuer);
    if (audience !== undefined) made.setAudience(audience);
    expect(await outcome(app, `Bearer ${await made.sign(secretKey)}`)).toBe(expected);
  });
});

describe('a token signed with a key of the JWKS', () => {
  let server: Server;
  let app: TestApp;
  let status = 200;
  let fetches = 0;
  let keys: JWK[] = [];
  let pair: Awaited<ReturnType<typeof generateKeyPair>>;

  beforeAll(async () => {
    pair = await generateKeyPair('ES256');
    keys = [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256' }];
    server = createServer((_request, response) => {
      fetches += 1;
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    app = await startWithKeys();
  });

  afterAll(async () => {
    server?.close();
    server?.closeAllConnections();
  });

  const startWithKeys = async () => {
    const { port } = server.address() as AddressInfo;
    // Without a shared secret: the tests' JWT_SECRET is removed.
    return await start({ JWKS_URL: `http://127.0.0.1:${port}/jwks.json`, JWT_SECRET: SECRET });
  };

  const signed = async (kid = 'one', key = pair.privateKey) => await token({ alg: 'ES256', kid }).sign(key);

  test('is accepted', async () => {
    expect(await outcome(app, `Bearer ${await signed()}`)).toBe('OK');
  });

  test('is refused with another key, or with a key that the JWKS lacks', async () => {
    const other = await generateKeyPair('ES256');
    expect(await outcome(app, `Bearer ${await signed('one', other.privateKey)}`)).toBe('UNAUTHENTICATED');
    expect(await outcome(app, `Bearer ${await signed('two')}`)).toBe('UNAUTHENTICATED');
  });

  test('is refused if it was signed with the shared secret, or with the public key as a secret', async () => {
    expect(await outcome(app, `Bearer ${await signToken(SECRET, userId)}`)).toBe('UNAUTHENTICATED');
    const publicKey = new TextEncoder().encode(await exportSPKI(pair.publicKey));
    const forged = await token({ alg: 'HS256', kid: 'one' }).sign(publicKey);
    expect(await outcome(app, `Bearer ${forged}`)).toBe('UNAUTHENTICATED');
  });

  test('is neither accepted nor called invalid while the keys are not known: 503', async () => {
    status = 500;
    const fresh = await startWithKeys();
    const authorization = `Bearer ${await signed()}`;
    expect(await outcome(fresh, authorization)).toBe('UNAVAILABLE');
    const { status: answered } = await fetch(fresh.url, { method: 'POST', headers: { authorization } });
    expect(answered).toBe(503);
    status = 200;
    const again = await askUntil(
      async () => await outcome(fresh, authorization),
      (code) => code === 'OK',
    );
    expect(again).toBe('OK');
  });

  test('costs one fetch, however many tokens name keys that nobody has, and few while the endpoint fails', async () => {
    const fresh = await startWithKeys();
    const authorizations = await Promise.all(
      Array.from({ length: 50 }, async (_, n) => `Bearer ${await signed(`random ${n}`)}`),
    );
    const sendAll = async () =>
      new Set(await Promise.all(authorizations.map(async (each) => await outcome(fresh, each))));
    fetches = 0;
    expect(await sendAll()).toEqual(new Set(['UNAUTHENTICATED']));
    expect(fetches).toBe(1);
    status = 500;
    try {
      const other = await startWithKeys();
      fetches = 0;
      const codes = await Promise.all(authorizations.map(async (each) => await outcome(other, each)));
      expect(new Set(codes)).toEqual(new Set(['UNAVAILABLE']));
      expect(fetches).toBe(1);
    } finally {
      status = 200;
    }
  });

  test('is accepted for as long as the keys are known, while the endpoint fails or hangs', async () => {
    const fresh = await startWithKeys();
    expect(await outcome(fresh, `Bearer ${await signed()}`)).toBe('OK');
    status = 500;
    try {
      // Another token, which was not verified before.
      expect(
        await outcome(
          fresh,
          `Bearer ${await token({ alg: 'ES256', kid: 'one' }).setJti('2').sign(pair.privateKey)}`,
        ),
      ).toBe('OK');
    } finally {
      status = 200;
    }
  });
});

describe('a token without exp', () => {
  const forEver = async () =>
    `Bearer ${await new SignJWT().setProtectedHeader({ alg: 'HS256' }).setSubject(userId).sign(secretKey)}`;

  test('is refused, and the answer says why', async () => {
    const app = await start();
    const response = await fetch(app.url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: await forEver() },
      body: '{"query":"{ me { id } }"}',
    });
    expect(await response.text()).toContain('Not authenticated: the token must expire: it has no claim exp');
  });

  test('is accepted if a setting allows it', async () => {
    expect(await outcome(await start({ JWT_WITHOUT_EXPIRY: 'on' }), await forEver())).toBe('OK');
  });
});

describe('while a secret is being replaced', () => {
  test('tokens of the new and of the previous secret are accepted, and of no other', async () => {
    const [previous, other] = ['the previous secret of these tests!', 'a secret that was never configured'];
    const app = await start({ JWT_SECRET_PREVIOUS: previous });
    expect(await outcome(app, `Bearer ${await signToken(SECRET, userId)}`)).toBe('OK');
    expect(await outcome(app, `Bearer ${await signToken(previous, userId)}`)).toBe('OK');
    expect(await outcome(app, `Bearer ${await signToken(other, userId)}`)).toBe('UNAUTHENTICATED');
  });
});

describe('a user whom the identity provider names by a subject of its own', () => {
  const subjectOf = async (id: string, subject: string | null) => {
    await database.sql`update users set subject = ${subject} where id = ${id}`;
  };
  let redis: RedisService;
  let app: TestApp;

  beforeAll(async () => {
    redis = await createRedis();
    app = await start({ REDIS_URL: redis.url });
  });

  afterAll(async () => {
    await redis?.stop();
  });

  const signed = async (subject: unknown, claim = 'sub') =>
    `Bearer ${await new SignJWT({ [claim]: subject })
      .setProtectedHeader({ alg: 'HS256' })
      .setExpirationTime('1h')
      .sign(secretKey)}`;

  test.each([
    'auth0|5f7c8ec7c33c6c004bbafe82',
    '117265847126534126541',
    'eu-central-1:Ümläut 予約 🙂',
    'constructor',
    'x'.repeat(255),
    '00000000-0000-4000-8000-00000000000A-x',
  ])('is found by it: %s', async (subject) => {
    await subjectOf(userId, subject);
    const seen = await askUntil(
      async () => await outcome(app, await signed(subject)),
      (code) => code === 'OK',
    );
    expect(seen).toBe('OK');
    expect(await outcome(app, await signed(`${subject.slice(0, 200)}?`))).toBe('UNAUTHENTICATED');
  });

  test('is another user within 2 s of a change of the subject', async () => {
    await subjectOf(userId, 'auth0|first');
    const header = await signed('auth0|first');
    await askUntil(
      async () => await outcome(app, header),
      (code) => code === 'OK',
    );
    const other = await addUser(database.sql);
    await database.sql.begin(async (tx) => {
      await tx`update users set subject = null where id = ${userId}`;
      await tx`update users set subject = 'auth0|first' where id = ${other.id}`;
    });
    const last = await askUntil(
      async () => await outcome(app, header),
      (code) => code === 'an answer about someone else',
    );
    expect(last).toBe('an answer about someone else');
    await database.sql`delete from users where id = ${other.id}`;
    const gone = await askUntil(
      async () => await outcome(app, header),
      (code) => code === 'UNAUTHENTICATED',
    );
    expect(gone).toBe('UNAUTHENTICATED');
    // The absence of the user is cached as well, and must end when the user returns.
    await subjectOf(userId, 'auth0|first');
    const back = await askUntil(
      async () => await outcome(app, header),
      (code) => code === 'OK',
    );
    expect(back).toBe('OK');
  });

  test('costs no statement while nothing changes', async () => {
    await subjectOf(userId, 'auth0|cached');
    const header = await signed('auth0|cached');
    await askUntil(
      async () => await outcome(app, header),
      (code) => code === 'OK',
    );
    await outcome(app, header);
    const before = app.statements.length;
    expect(await outcome(app, header)).toBe('OK');
    expect(app.statements.length).toBe(before);
  });

  test.each([
    ['a number', 117_265],
    ['a list', ['auth0|x']],
    ['an object', { sub: 'auth0|x' }],
    ['true', true],
    ['null', null],
    ['nothing', undefined],
    ['empty', ''],
    ['too long', 'x'.repeat(256)],
    ['a text with NUL', 'auth0|\0'],
    ['half a character', 'auth0|\ud83d'],
    ['a text that nobody has', "auth0|nobody' or 1=1"],
  ])('is nobody if the claim is %s', async (_what, subject) => {
    expect(await outcome(app, await signed(subject))).toBe('UNAUTHENTICATED');
  });

  test.each(['https://example.com/user_id', 'user.id', 'email', '__proto__', 'constructor'])(
    'is found by the claim %s if the configuration names that claim',
    async (claim) => {
      const named = await start({ JWT_USER_CLAIM: claim });
      await subjectOf(userId, 'auth0|claimed');
      const payload = (value: unknown) => JSON.parse(`{${JSON.stringify(claim)}: ${JSON.stringify(value)}}`);
      const sign = async (value: unknown) =>
        `Bearer ${await new SignJWT(payload(value))
          .setProtectedHeader({ alg: 'HS256' })
          .setSubject(userId)
          .setExpirationTime('1h')
          .sign(secretKey)}`;
      if (claim !== '__proto__') {
        expect(await outcome(named, await sign('auth0|claimed'))).toBe('OK');
        expect(await outcome(named, await sign(userId))).toBe('OK');
      }
      expect(await outcome(named, `Bearer ${await signToken(SECRET, userId)}`)).toBe('UNAUTHENTICATED');
    },
  );
});
