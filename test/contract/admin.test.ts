import { execFile } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { decodeJwt } from 'jose';

import { MeDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { SECRET } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { askUntil } from './fixture.js';

// Each test runs commands to their end.
jest.setTimeout(120_000);

let database: TestDatabase;
let redis: RedisService;
let app: TestApp;

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url });
});

afterAll(async () => {
  await app?.close();
  await redis?.stop();
  await database?.drop();
});

/** Runs the compiled command as an operator does, with DATABASE_URL and these variables. */
async function admin(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return await new Promise((resolve) => {
    execFile(
      process.execPath,
      ['dist/admin.js', ...args],
      { env: { PATH: process.env.PATH, NODE_ENV: 'production', DATABASE_URL: database.url, ...environment } },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

const organization = (name: string, ...more: string[]) => [
  'create-organization',
  `--name=${name}`,
  `--slug=${name.toLowerCase()}`,
  `--owner=owner@${name.toLowerCase()}.example`,
  ...more,
];

/** The roles of a token's user by the slugs' organizations; undefined while there is no such user. */
const roles = async (token: string) =>
  (await app.client(token).send(MeDocument, {})).data?.me.memberships.map(({ role }) => role);

describe('an empty production database', () => {
  test('gets its first organization, owner and token from one command, and a running server knows them at once', async () => {
    const made = await admin(organization('Acme', '--owner-name', 'Olivia'), { JWT_SECRET: SECRET });
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const [, orgId, ownerId, token = ''] =
      /^Organization (\S+) acme\nOwner +(\S+) owner@acme\.example\nToken +(\S+)\n$/.exec(made.stdout) ?? [];
    expect(decodeJwt(token)).toMatchObject({ sub: ownerId });
    expect(decodeJwt(token).exp).toBeLessThanOrEqual(Date.now() / 1_000 + 3_600);
    expect(await roles(token)).toEqual(['OWNER']);
    const [row] = await database.sql`select org_id from memberships where user_id = ${ownerId as string}`;
    expect(row).toEqual({ org_id: orgId });
  });

  test('is not changed when the command runs again, and the command says why', async () => {
    const again = await admin(organization('Acme'));
    expect(again).toEqual({
      code: 1,
      stdout: '',
      stderr: 'There is an organization with the slug acme already.\n',
    });
  });

  test('gets no token if there is no secret, or if an identity provider issues tokens', async () => {
    for (const [name, environment] of [
      ['Initech', {}],
      ['Hooli', { JWT_SECRET: SECRET, JWKS_URL: 'https://keys.example/jwks.json' }],
    ] as const) {
      const { code, stdout } = await admin(organization(name), environment);
      expect(code).toBe(0);
      expect(stdout).not.toContain('Token');
    }
  });
});

describe('members', () => {
  beforeAll(async () => {
    await database.sql`insert into organizations (name, slug) values ('Members', 'members')`;
    await database.sql`insert into users (email) values ('owner@members.example')`;
  });

  const add = async (email: string, role: string, ...more: string[]) =>
    await admin(['add-member', '--organization', 'members', '--email', email, '--role', role, ...more]);
  const tokenOf = async (email: string) =>
    (await admin(['token', '--email', email], { JWT_SECRET: SECRET })).stdout.trim();

  test('are added, changed and removed, and a running server sees each change within 2 s', async () => {
    const email = 'Editor@acme.example';
    expect((await add(email, 'viewer')).stdout).toMatch(/is VIEWER of members now\.\n$/);
    const token = await tokenOf(email);
    const rolesBecome = async (expected: string[]) => {
      const seen = await askUntil(
        async () => await roles(token),
        (each) => JSON.stringify(each) === JSON.stringify(expected),
      );
      expect(seen).toEqual(expected);
    };
    await rolesBecome(['VIEWER']);
    expect((await add('editor@ACME.example', 'EDITOR')).stdout).toMatch(
      /^Editor@acme\.example .* is EDITOR of members now, and was VIEWER\.\n$/,
    );
    await rolesBecome(['EDITOR']);
    expect((await add(email, 'EDITOR')).stdout).toMatch(/is EDITOR of members already\.\n$/);
    const remove = ['remove-member', '--organization', 'members', '--email', email];
    expect((await admin(remove)).code).toBe(0);
    await rolesBecome([]);
    expect(await admin(remove)).toMatchObject({ code: 1, stderr: `${email} is not a member of members.\n` });
  });

  test('are named by the subject of their identity provider, or by their id if that is a uuid', async () => {
    expect((await add('auth0@acme.example', 'VIEWER', '--subject', 'auth0|1')).code).toBe(0);
    const id = randomUUID();
    expect((await add('keycloak@acme.example', 'VIEWER', '--subject', id.toUpperCase())).code).toBe(0);
    expect(
      await database.sql`select id, subject from users where email in ('auth0@acme.example', 'keycloak@acme.example')
        order by email`,
    ).toMatchObject([{ subject: 'auth0|1' }, { id, subject: null }]);
    expect(await add('other@acme.example', 'VIEWER', '--subject', 'auth0|1')).toMatchObject({
      code: 1,
      stderr: 'The subject auth0|1 belongs to another user.\n',
    });
    expect((await add('auth0@acme.example', 'VIEWER', '--subject', randomUUID())).stderr).toMatch(
      /has the id/,
    );
    // The tags that the server uses are those that the database logs.
    const digest = createHash('sha256').update('auth0|1').digest('hex');
    const [logged] = await database.sql`
      select count(*)::int as entries from cache_invalidations where ${`subject:${digest}`} = any (tags)`;
    expect(logged?.entries).toBeGreaterThan(0);
  });

  test('get a token that is valid for as long as is asked for', async () => {
    const environment = {
      JWT_SECRET: SECRET,
      JWT_ISSUER: 'https://login.example',
      JWT_USER_CLAIM: 'user.id',
    };
    const { stdout } = await admin(
      ['token', '--email', 'owner@members.example', '--expires-in', '5m'],
      environment,
    );
    const claims = decodeJwt(stdout.trim());
    expect(claims).toMatchObject({ iss: 'https://login.example', 'user.id': expect.any(String) });
    expect((claims.exp ?? 0) - (claims.iat ?? 0)).toBe(300);
  });
});

describe('a command that cannot be carried out says why in a sentence', () => {
  test.each<[string, string[], Record<string, string>, RegExp]>([
    ['no command', [], {}, /^Usage: /],
    ['an unknown command', ['drop-everything'], {}, /^There is no command drop-everything\./],
    ['an option of another command', ['reset-cache', '--email', 'a@b'], {}, /^Unknown option '--email'/],
    ['a missing option', ['create-organization', '--name', 'X'], {}, /^--slug is required\./],
    ['a slug that is none', organization('A B'), {}, /^--slug must consist/],
    ['an email that is none', ['token', '--email', 'nobody'], {}, /^--email must be an email address\./],
    [
      'a role that is none',
      ['add-member', '--organization', 'acme', '--email', 'a@b', '--role', 'ADMIN'],
      {},
      /^--role must be one of OWNER, EDITOR, VIEWER\./,
    ],
    [
      'an organization that is not there',
      ['add-member', '--organization', randomUUID(), '--email', 'a@b', '--role', 'OWNER'],
      {},
      /^There is no organization /,
    ],
    [
      'a user who is not there',
      ['token', '--email', 'a@b'],
      { JWT_SECRET: SECRET },
      /^There is no user with the email a@b\./,
    ],
    ['no secret to sign with', ['token', '--email', 'owner@acme.example'], {}, /^JWT_SECRET is required/],
    [
      'a life that is none',
      ['token', '--email', 'owner@acme.example', '--expires-in', 'ever'],
      { JWT_SECRET: SECRET },
      /^--expires-in must be/,
    ],
    ['no database', ['reset-cache'], { DATABASE_URL: '' }, /DATABASE_URL is required/],
    [
      'a database that is away',
      ['reset-cache'],
      { DATABASE_URL: 'postgres://x:the-password@127.0.0.1:1/x' },
      /^DATABASE_URL names an address/,
    ],
  ])('%s', async (_what, args, environment, about) => {
    const { code, stdout, stderr } = await admin(args, environment);
    expect(stderr).toMatch(about);
    expect(stderr).not.toMatch(/^\s+at |the-password/m);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  });

  test('leaves no partial change', async () => {
    await database.sql`insert into users (email, subject) values ('taken@x.example', 'auth0|taken')`;
    const before = await database.sql`select count(*) from organizations`;
    const failed = await admin(organization('Umbrella', '--subject', 'auth0|taken'));
    expect(failed).toMatchObject({ code: 1, stderr: 'The subject auth0|taken belongs to another user.\n' });
    expect(await database.sql`select count(*) from organizations`).toEqual(before);
  });

  test('resets the cache', async () => {
    const epoch = async () => (await database.sql`select epoch from cache_log_state`)[0]?.epoch;
    const before = await epoch();
    expect((await admin(['reset-cache'])).code).toBe(0);
    expect(await epoch()).not.toBe(before);
  });
});
