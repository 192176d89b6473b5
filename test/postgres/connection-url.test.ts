import { describe, expect, test } from '@jest/globals';

import { readConfig } from '../../src/config.js';
import { parseConnectionUrl } from '../../src/db/connection-url.js';
import { MeDocument } from '../generated/graphql.js';
import { startApp } from '../support/app.js';
import { addUser } from '../support/people.js';
import { createDatabase } from '../support/services.js';

describe('a server starts with the URL of', () => {
  test.each([
    ['Neon', 'sslmode=prefer&channel_binding=require'],
    ['Prisma', 'schema=public&pgbouncer=true&connection_limit=5&pool_timeout=10'],
    ['Supabase', 'pgbouncer=true&supa=base-pooler.x&workaround=supabase-pooler.vercel'],
    [
      'libpq',
      'application_name=bots&connect_timeout=3&options=-c%20geqo%3Doff&target_session_attrs=read-write',
    ],
    ['postgres.js', 'ssl=false&prepare=false'],
  ])('%s', async (_, query) => {
    const database = await createDatabase();
    const { token } = await addUser(database.sql);
    const app = await startApp({ DATABASE_URL: `${database.url}?${query}` });
    try {
      await app.client(token).ask(MeDocument, {});
      expect(await app.client(token).ask(MeDocument, {})).toMatchObject({ me: { memberships: [] } });
    } finally {
      await app.close();
      await database.drop();
    }
  });
});

const PASSWORD = 'hunter2-secret';

describe('one sentence says what is wrong with', () => {
  const mistakeOf = (url: string): string => {
    try {
      readConfig({ DATABASE_URL: url, REDIS_URL: 'off', JWT_SECRET: 'x', NODE_ENV: 'test' });
    } catch (error) {
      return (error as Error).message;
    }
    return 'none';
  };

  test.each([
    [
      'an unknown parameter',
      `postgres://u:${PASSWORD}@h/db?foo=1`,
      'DATABASE_URL has the parameter foo, which is not understood',
    ],
    [
      'another schema',
      `postgres://u:${PASSWORD}@h/db?schema=bots`,
      'DATABASE_URL has the parameter schema, but',
    ],
    [
      'a setting of ours',
      `postgres://u:${PASSWORD}@h/db?statement_timeout=5`,
      'set DATABASE_STATEMENT_TIMEOUT_MS instead',
    ],
    ['a mode of TLS', `postgres://u:${PASSWORD}@h/db?sslmode=sometimes`, 'unknown value for sslmode'],
    [
      'a certificate',
      `postgres://u:${PASSWORD}@h/db?sslmode=verify-full&sslrootcert=/no/file`,
      'sslrootcert that cannot be read (ENOENT)',
    ],
    ['a password that is not encoded', `postgres://u:${PASSWORD}#1@h/db`, 'must be percent-encoded'],
    ['a stray %', `postgres://u:${PASSWORD}%@h/db`, 'has a % in its password'],
    ['a port', `postgres://u:${PASSWORD}@h:port/db`, 'has a host that is not of the form host:port'],
    ['another protocol', `mysql://u:${PASSWORD}@h/db`, 'must be postgres://'],
  ])('%s', (_, url, sentence) => {
    const message = mistakeOf(url);
    expect(message).toContain(sentence);
    expect(message).not.toContain(PASSWORD);
    expect(message.split('\n')).toHaveLength(2);
  });
});

describe('a URL names', () => {
  test('a Unix socket, in each of the usual ways', () => {
    for (const url of [
      'postgres://u@%2Fvar%2Frun%2Fpg/db',
      'postgres:///db?host=/var/run/pg&user=u',
      'postgres://u@/db?host=/var/run/pg',
    ]) {
      expect(parseConnectionUrl(url)).toMatchObject({
        socketPath: '/var/run/pg/.s.PGSQL.5432',
        user: 'u',
        database: 'db',
      });
    }
  });

  test('several hosts, IPv6, and names with any characters', () => {
    expect(parseConnectionUrl('postgres://a%40b:p%2Fw%3A@one:5433,[::1]:6432,two/my%20db')).toMatchObject({
      hosts: ['one', '::1', 'two'],
      ports: [5433, 6432, 5432],
      user: 'a@b',
      password: 'p/w:',
      database: 'my db',
    });
  });

  test('how to verify TLS certificates', () => {
    const ssl = (query: string) => parseConnectionUrl(`postgres://h/db?${query}`).ssl;
    expect(ssl('sslmode=disable')).toBe(false);
    expect(ssl('sslmode=prefer')).toBe('prefer');
    expect(ssl('sslmode=require&channel_binding=require')).toBe('require');
    expect(ssl('sslmode=verify-full')).toMatchObject({ rejectUnauthorized: true });
    expect(ssl('sslmode=require&sslrootcert=system')).toMatchObject({ rejectUnauthorized: true });
  });
});
