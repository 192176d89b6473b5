import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import postgres from 'postgres';

import { readConfig } from '../../src/config.js';
import { databaseProblem, listenProblem } from '../../src/start-failure.js';
import { SECRET } from '../support/people.js';
import { startServerProcess } from '../support/server-process.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const PASSWORD = 'the-database-password';

// Each test runs programs until they exit.
jest.setTimeout(120_000);

let database: TestDatabase;
let folder: string;

beforeAll(async () => {
  database = await createDatabase();
  folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-files-`);
});

afterAll(async () => {
  await database?.drop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** Runs a compiled program with this environment alone, until it exits. */
async function run(
  program: string,
  environment: Record<string, string>,
  root = process.cwd(),
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [path.join(root, 'dist', program)], {
    cwd: root,
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

const serve = async (settings: Record<string, string>) =>
  await run('main.js', {
    DATABASE_URL: database.url,
    REDIS_URL: 'off',
    JWT_SECRET: SECRET,
    PORT: '0',
    LOG_LEVEL: 'fatal',
    ...settings,
  });

const changed = (change: (url: URL) => void): string => {
  const url = new URL(database.url);
  change(url);
  return url.href;
};

/** A database without migrations. */
async function emptyDatabase(): Promise<{ url: string; drop: () => Promise<void> }> {
  const admin = postgres(
    changed((url) => (url.pathname = '/postgres')),
    { max: 1, onnotice: () => {} },
  );
  const name = `empty_${process.pid}_${Date.now()}`;
  await admin.unsafe(`create database ${name}`);
  return {
    url: changed((url) => (url.pathname = `/${name}`)),
    drop: async () => {
      await admin.unsafe(`drop database if exists ${name} with (force)`);
      await admin.end();
    },
  };
}

/** SQL that revokes the rights to create objects from the only user. */
const WITHOUT_RIGHTS = (url: string): string => `
  revoke create on schema public from pg_database_owner, public;
  revoke create on database ${new URL(url).pathname.slice(1)} from public, current_user`;

/** The last message of a program that has exited. @throws Error if it is not one sentence, or has a stack or a secret */
function sentenceOf({ code, output }: { code: number | null; output: string }): string {
  const isSentence =
    code === 1 &&
    output.trim().split('\n').length <= 2 &&
    !/^\s+at /m.test(output) &&
    !output.includes(PASSWORD);
  if (!isSentence) throw new Error(`No sentence, with the exit code ${code}:\n${output}`);
  return output;
}

describe('a server that cannot start says so in one sentence, without a secret and without a stack', () => {
  test.each([
    ['a password with #', `postgres://flovo:${PASSWORD}#1@127.0.0.1/x`],
    ['a password with /', `postgres://flovo:${PASSWORD}/1@127.0.0.1/x`],
    ['a password with ?', `postgres://flovo:${PASSWORD}?1@127.0.0.1/x`],
    ['a password with %', `postgres://flovo:${PASSWORD}%1@127.0.0.1/x`],
    ['no host after a password', `postgres://flovo:${PASSWORD}@`],
    ['a port that is none', `postgres://flovo:${PASSWORD}@127.0.0.1:99999/x`],
    ['blanks', `postgres://flovo:${PASSWORD}@127.0.0.1 /x`],
  ])('DATABASE_URL with %s', async (_what, url) => {
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(/^ *DATABASE_URL (must|has|names) /m);
  });

  test.each([
    ['a password with #', `redis://:${PASSWORD}#1@127.0.0.1`],
    ['a password with /', `redis://:${PASSWORD}/1@127.0.0.1`],
    ['a password with %', `rediss://:${PASSWORD}%1@127.0.0.1`],
    ['a port that is none', `redis://:${PASSWORD}@127.0.0.1:port`],
    ['a Sentinel with a port that is none', `redis+sentinel://:${PASSWORD}@127.0.0.1:port/master`],
  ])('REDIS_URL with %s', async (_what, url) => {
    expect(sentenceOf(await serve({ REDIS_URL: url }))).toMatch(/^ +REDIS_URL must be /m);
  });

  test.each(['ftp://keys.example/jwks.json', 'keys.example', 'https//keys.example', 'javascript:alert(1)'])(
    'JWKS_URL=%s',
    (url) => {
      const environment = { DATABASE_URL: database.url, REDIS_URL: 'off', JWT_SECRET: SECRET, JWKS_URL: url };
      expect(() => readConfig(environment)).toThrow(/^ +JWKS_URL must be an http/m);
    },
  );

  test('an unreachable database', async () => {
    const url = changed((to) => {
      to.port = '1';
      to.password = PASSWORD;
    });
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(
      /^DATABASE_URL names an address .* \(ECONNREFUSED\)\. Gave up after 15 s\.$/m,
    );
  });

  test('an unknown host', async () => {
    const url = changed((to) => (to.hostname = 'nowhere.invalid'));
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(
      /^DATABASE_URL names a host .*\((ENOTFOUND|EAI_AGAIN)\)\. Gave up after 5 s\.$/m,
    );
  });

  test('a database that does not exist', async () => {
    const url = changed((to) => (to.pathname = '/nothing'));
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(
      /^DATABASE_URL names a database that does not exist/m,
    );
  });

  test('a user that does not exist', async () => {
    const url = changed((to) => {
      to.username = 'nobody';
      to.password = PASSWORD;
    });
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(
      /^DATABASE_URL (names a user|holds a password)/m,
    );
  });

  test('TLS with a server that does not support it', async () => {
    const url = changed((to) => to.searchParams.set('sslmode', 'require'));
    expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(/^DATABASE_URL .*TLS/m);
  });

  test('a server that is not PostgreSQL', async () => {
    const other: Server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const url = changed((to) => (to.port = String((other.address() as AddressInfo).port)));
    try {
      expect(sentenceOf(await serve({ DATABASE_URL: url }))).toMatch(/^DATABASE_URL /m);
    } finally {
      other.close();
    }
  });

  test('a port that is in use', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    try {
      expect(sentenceOf(await serve({ PORT: String(port) }))).toMatch(
        new RegExp(`^PORT ${port} is in use`, 'm'),
      );
    } finally {
      other.close();
    }
  });

  test.each([
    ['198.51.100.7', /^HOST 198\.51\.100\.7 is not an address/m],
    ['nowhere.invalid', /^HOST nowhere\.invalid is not known/m],
  ])('HOST=%s', async (host, about) => {
    expect(sentenceOf(await serve({ HOST: host }))).toMatch(about);
  });

  test('a privileged port, and further errors of listening', () => {
    const failing = (code: string) => Object.assign(new Error(`failed: ${PASSWORD}`), { code });
    expect(listenProblem(failing('EACCES'), { host: '::', port: 80 })?.message).toMatch(/^PORT 80 /);
    for (const code of ['28P01', '53300', '57P03', '25006', 'ETIMEDOUT', 'SELF_SIGNED_CERT_IN_CHAIN']) {
      const sentence = databaseProblem(new Error('wrapped', { cause: failing(code) }))?.message;
      expect(sentence).toMatch(new RegExp(`^DATABASE_URL .*\\(${code}\\)\\.$`));
      expect(sentence).not.toContain(PASSWORD);
    }
    expect(databaseProblem(failing('42601'))).toBeUndefined();
  });

  test('missing migration files', async () => {
    const root = path.join(folder, 'without-migrations');
    await cp(path.join(process.cwd(), 'dist'), path.join(root, 'dist'), { recursive: true });
    await cp(path.join(process.cwd(), 'package.json'), path.join(root, 'package.json'));
    await symlink(path.join(process.cwd(), 'node_modules'), path.join(root, 'node_modules'));
    expect(
      sentenceOf(
        await run('main.js', { DATABASE_URL: database.url, REDIS_URL: 'off', JWT_SECRET: SECRET }, root),
      ),
    ).toMatch(/^The migrations are missing: .* drizzle /m);
  });
});

describe('a database that is migrated apart from the server', () => {
  test('is refused before the migration, naming the command, and served after it, to a user without rights on the schema', async () => {
    const empty = await emptyDatabase();
    const apart = { DATABASE_URL: empty.url, MIGRATE_ON_START: 'off' };
    const sql = postgres(empty.url, { max: 1, onnotice: () => {} });
    try {
      expect(sentenceOf(await serve(apart))).toMatch(
        /is not migrated.*: run node dist\/migrate\.js first\.$/m,
      );
      const first = await run('migrate.js', { DATABASE_URL: empty.url });
      expect(first).toEqual({ code: 0, output: expect.stringMatching(/^Applied \d+ migration\(s\)\.\n$/) });
      const second = await run('migrate.js', { DATABASE_URL: empty.url });
      expect(second).toEqual({ code: 0, output: 'The database is up to date.\n' });

      await sql.unsafe(WITHOUT_RIGHTS(empty.url));
      const server = await startServerProcess({ ...apart, REDIS_URL: 'off' });
      expect(await (await fetch(new URL('/readyz', server.url))).json()).toMatchObject({
        ready: true,
        invalidationLogAgeMs: expect.any(Number),
      });
      expect(await server.end('SIGTERM')).toBe(0);
    } finally {
      await sql.end();
      await empty.drop();
    }
  });

  test('is not migrated by a user without the rights, and the error says what to do', async () => {
    const empty = await emptyDatabase();
    const sql = postgres(empty.url, { max: 1, onnotice: () => {} });
    try {
      await sql.unsafe(WITHOUT_RIGHTS(empty.url));
      expect(sentenceOf(await serve({ DATABASE_URL: empty.url }))).toMatch(
        /^DATABASE_URL names a user without the right.*MIGRATE_ON_START=off/m,
      );
    } finally {
      await sql.end();
      await empty.drop();
    }
  });
});

describe('a secret in a file', () => {
  const file = async (name: string, content: string) => {
    const at = path.join(folder, name);
    await writeFile(at, content);
    return at;
  };
  const good = { DATABASE_URL: 'postgres://127.0.0.1/x', REDIS_URL: 'off', JWT_SECRET: SECRET };
  const readWithout = (name: keyof typeof good, given: Record<string, string>) => {
    const { [name]: _, ...others } = good;
    return readConfig({ NODE_ENV: 'production', ...others, ...given });
  };

  test("is read as the variable's value, without the newline at its end", async () => {
    const withNewline = { JWT_SECRET_FILE: await file('jwt', `${SECRET}\n`) };
    expect(readWithout('JWT_SECRET', withNewline).auth.secret).toBe(SECRET);
    const ofWindows = { DATABASE_URL_FILE: await file('database', 'postgres://127.0.0.1/y\r\n') };
    expect(readWithout('DATABASE_URL', ofWindows).database.url).toBe('postgres://127.0.0.1/y');
    const without = { REDIS_URL_FILE: await file('redis', 'redis://127.0.0.1') };
    expect(readWithout('REDIS_URL', without).redis.target).toMatchObject({ url: 'redis://127.0.0.1' });
    const operators = { OPERATOR_TOKEN_FILE: await file('operators', `${'t'.repeat(32)}\n`) };
    expect(readConfig({ ...good, ...operators }).http.operatorToken).toBe('t'.repeat(32));
    const blank = { JWT_SECRET_FILE: await file('blank', ` ${SECRET} \n`) };
    expect(readWithout('JWT_SECRET', blank).auth.secret).toBe(` ${SECRET} `);
  });

  test('authenticates requests to the server', async () => {
    const { DATABASE_URL_FILE, JWT_SECRET_FILE } = {
      DATABASE_URL_FILE: await file('server-database', `${database.url}\n`),
      JWT_SECRET_FILE: await file('server-jwt', `${SECRET}\n`),
    };
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    // The server starts up to the port that is in use.
    const outcome = await run('main.js', {
      DATABASE_URL_FILE,
      JWT_SECRET_FILE,
      REDIS_URL: 'off',
      PORT: String(port),
    });
    other.close();
    expect(outcome.output).toContain(`PORT ${port} is in use`);
  });

  test.each<[string, () => Promise<Record<string, string>> | Record<string, string>, RegExp]>([
    [
      'is not there',
      () => ({ JWT_SECRET_FILE: '/nowhere/jwt' }),
      /JWT_SECRET_FILE names a file that cannot be read \(ENOENT\)/,
    ],
    [
      'is a folder',
      () => ({ JWT_SECRET_FILE: '/' }),
      /JWT_SECRET_FILE names a file that cannot be read \(EISDIR\)/,
    ],
    [
      'is empty',
      async () => ({ JWT_SECRET_FILE: await file('empty', '\n') }),
      /JWT_SECRET_FILE names an empty file/,
    ],
    [
      'is given beside the variable',
      async () => ({ JWT_SECRET: SECRET, JWT_SECRET_FILE: await file('both', SECRET) }),
      /JWT_SECRET_FILE cannot be given together with JWT_SECRET/,
    ],
    [
      'holds what is too short',
      async () => ({ JWT_SECRET_FILE: await file('short', 'short-secret') }),
      /JWT_SECRET must have at least 32/,
    ],
    [
      'holds no URL',
      async () => ({ JWT_SECRET: SECRET, REDIS_URL_FILE: await file('no-url', PASSWORD) }),
      /REDIS_URL_FILE cannot be given together/,
    ],
  ])('that %s is a mistake of its own, told once and without its content', async (_what, given, about) => {
    const variables = await given();
    let message = '';
    try {
      readWithout('JWT_SECRET', variables);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(about);
    expect(message.split('\n')).toHaveLength(2);
    for (const content of ['short-secret', PASSWORD, SECRET]) expect(message).not.toContain(content);
  });
});
