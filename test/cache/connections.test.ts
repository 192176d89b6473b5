import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';

import { freePort } from '../../src/dev/services/ports.js';
import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createSentinel } from '../support/redis-sentinel.js';
import { startServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { exerciseApi } from './api.js';

let database: TestDatabase;
let orgId: string;
let token: string;
const closers: (() => unknown)[] = [];

beforeAll(async () => {
  database = await createDatabase();
});

afterAll(async () => {
  await database?.drop();
});

beforeEach(async () => {
  orgId = await addOrganization(database.sql);
  await addBots(database.sql, orgId, 3);
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
});

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const start = async (settings: Record<string, string>): Promise<TestApp & { user: Client }> => {
  const app = await startApp({ DATABASE_URL: database.url, REDIS_TIMEOUT_MS: '500', ...settings });
  closers.push(app.close);
  return Object.assign(app, { user: app.client(token) });
};
const startRedis = async (settings: readonly string[] = []): Promise<RedisService> => {
  const redis = await createRedis({ settings });
  closers.push(redis.stop);
  return redis;
};
const isUp = async (app: TestApp) => (await app.metric('flovo_redis_up')) === 1;

test('behind a Sentinel the new master is found after a failover, and no request fails meanwhile', async () => {
  const sentinel = await createSentinel();
  closers.push(sentinel.stop);
  const apps = await Promise.all([start({ REDIS_URL: sentinel.url }), start({ REDIS_URL: sentinel.url })]);
  const [{ user }, { user: other }] = apps;
  await eventually(async () => (await Promise.all(apps.map(isUp))).every(Boolean));
  await exerciseApi([user, other], orgId, database);
  expect(await apps[0].metric('flovo_cache_hits_total')).toBeGreaterThan(0);

  await sentinel.master.kill();
  await eventually(async () => {
    await exerciseApi([user], orgId, database);
    return (await sentinel.masterPort()) === sentinel.replica.port;
  });
  await eventually(async () => {
    await exerciseApi([user], orgId, database);
    return (await Promise.all(apps.map(isUp))).every(Boolean);
  });
  const hits = await apps[1].metric('flovo_cache_hits_total');
  await exerciseApi([other, user], orgId, database);
  expect(await apps[1].metric('flovo_cache_hits_total')).toBeGreaterThan(hits);
  const admin = new Redis(sentinel.replica.url);
  expect(await admin.dbsize()).toBeGreaterThan(0);
  admin.disconnect();
}, 60_000);

describe('a Redis with access control', () => {
  const PASSWORD = 'p@ss:w/ö#rd?%';
  let redis: RedisService;

  beforeEach(async () => {
    redis = await startRedis();
    const admin = new Redis(redis.url);
    // Its own keys and no dangerous commands: INFO is what the client asks on connecting.
    await admin.call('ACL', [
      'SETUSER',
      'cache',
      'on',
      `>${PASSWORD}`,
      '~flovo:*',
      '+@all',
      '-@dangerous',
      '+info',
    ]);
    await admin.call('ACL', ['SETUSER', 'default', 'off']);
    admin.disconnect();
  });

  const urlWith = (password: string) =>
    `redis://cache:${encodeURIComponent(password)}@127.0.0.1:${redis.port}/0`;

  test('is used with a user and password, which needs no more than its own keys', async () => {
    const app = await start({ REDIS_URL: urlWith(PASSWORD), CACHE_PREFIX: 'flovo:' });
    await eventually(async () => await isUp(app));
    await exerciseApi([app.user], orgId, database);
    expect(await app.metric('flovo_cache_hits_total')).toBeGreaterThan(0);
    for (const operation of ['read', 'claim', 'fill', 'invalidate', 'sweep'])
      expect(await app.metric('flovo_redis_failures_total', { operation, reason: 'error' })).toBe(0);
  });

  test('that refuses the password is done without, and the password is not logged', async () => {
    const app = await start({ REDIS_URL: urlWith('wrong password'), CACHE_PREFIX: 'flovo:' });
    await exerciseApi([app.user], orgId, database);
    expect(await isUp(app)).toBe(false);
    expect(app.logs.filter(({ msg }) => String(msg).startsWith('Redis unavailable'))).toHaveLength(1);
    expect(JSON.stringify(app.logs)).not.toMatch(/wrong(%20| )password/);
  });

  test('that refuses the keys is done without', async () => {
    const app = await start({ REDIS_URL: urlWith(PASSWORD), CACHE_PREFIX: 'another:' });
    await exerciseApi([app.user], orgId, database);
    expect(await isUp(app)).toBe(false);
  });
});

describe('a Redis that speaks TLS', () => {
  let port: number;
  let authority: string;

  beforeEach(async () => {
    const folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-redis-`);
    const openssl = async (...args: string[]) => await promisify(execFile)('openssl', args, { cwd: folder });
    const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    await openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=Test CA');
    await openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'server.key',
      '-out',
      'server.crt',
      '-subj',
      '/CN=redis',
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-addext',
      'subjectAltName=IP:127.0.0.1',
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    );
    authority = path.join(folder, 'ca.crt');
    port = await freePort();
    await startRedis([
      '--tls-port',
      String(port),
      '--tls-cert-file',
      path.join(folder, 'server.crt'),
      '--tls-key-file',
      path.join(folder, 'server.key'),
      '--tls-ca-cert-file',
      authority,
      '--tls-auth-clients',
      'no',
    ]);
  });

  const serve = async (settings: Record<string, string>) => {
    const server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: `rediss://127.0.0.1:${port}`,
      REDIS_TIMEOUT_MS: '1000',
      ...settings,
    });
    closers.push(async () => await server.end('SIGTERM'));
    const readiness = async () =>
      (await (await fetch(new URL('/readyz', server.url))).json()) as { cache: string };
    return { user: server.client(token), readiness };
  };

  test('is used if its certificate is of a known authority', async () => {
    const { user, readiness } = await serve({ NODE_EXTRA_CA_CERTS: authority });
    await eventually(async () => (await readiness()).cache === 'up');
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'up' });
  });

  test('is done without if its certificate is of an unknown authority', async () => {
    const { user, readiness } = await serve({});
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'down', ready: true });
  });
});
