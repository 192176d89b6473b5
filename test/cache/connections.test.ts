import { execFile } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import getPort from 'get-port';

import { startApp, type TestApp } from '../support/app.js';
import type { Client } from '../support/client.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { CLUSTER_NODE_SETTINGS, formRedisCluster, freeClusterPort } from '../support/form-redis-cluster.js';
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
    // The exact line of the documentation: one pattern for all keys, and only the required commands.
    const page = await readFile('docs/operations/redis.md', 'utf8');
    const [, rules = ''] = /ACL SETUSER flovo on >PASSWORD (.*)/.exec(page) ?? [];
    if (!rules.startsWith('~flovo:* ')) throw new Error('The page has no line for ACL SETUSER');
    await admin.call('ACL', ['SETUSER', 'cache', 'on', `>${PASSWORD}`, ...rules.split(' ')]);
    await admin.call('ACL', ['SETUSER', 'default', 'off']);
    admin.disconnect();
  });

  const urlWith = (password: string) =>
    `redis://cache:${encodeURIComponent(password)}@127.0.0.1:${redis.port}/0`;

  test("is used with a user and password that has access to the cache's keys alone", async () => {
    const app = await start({ REDIS_URL: urlWith(PASSWORD), CACHE_PREFIX: 'flovo:' });
    await eventually(async () => await isUp(app));
    await exerciseApi([app.user], orgId, database);
    expect(await app.metric('flovo_cache_hits_total')).toBeGreaterThan(0);
    // The sweep needs the same rights.
    await eventually(
      async () => (await app.metric('flovo_redis_round_trips_total', { operation: 'sweep' })) > 0,
    );
    expect(await app.metric('flovo_redis_failures_total', { reason: 'refused' })).toBe(0);
    for (const operation of ['read', 'claim', 'fill', 'invalidate', 'sweep'])
      expect(await app.metric('flovo_redis_failures_total', { operation, reason: 'error' })).toBe(0);
  });

  test('is not used if it refuses the password, and the password is not logged', async () => {
    const app = await start({ REDIS_URL: urlWith('wrong password'), CACHE_PREFIX: 'flovo:' });
    await exerciseApi([app.user], orgId, database);
    expect(await isUp(app)).toBe(false);
    expect(app.logs.filter(({ msg }) => String(msg).startsWith('Redis unavailable'))).toHaveLength(1);
    expect(JSON.stringify(app.logs)).not.toMatch(/wrong(%20| )password/);
  });

  test('is not used if it refuses access to the keys', async () => {
    const app = await start({ REDIS_URL: urlWith(PASSWORD), CACHE_PREFIX: 'another:' });
    await exerciseApi([app.user], orgId, database);
    expect(await isUp(app)).toBe(false);
    expect(await app.app.readiness()).toMatchObject({ cache: 'degraded' });
  });
});

/** Makes a certificate for a server, signed by a new authority. */
async function createCertificate(subject: string): Promise<{ flags: string[]; authority: string }> {
  const folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-redis-`);
  const openssl = async (...args: string[]) => await promisify(execFile)('openssl', args, { cwd: folder });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  await openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=Test CA');
  const itself = ['-keyout', 'server.key', '-out', 'server.crt', '-subj', '/CN=redis'];
  const extensions = [`subjectAltName=${subject}`, 'basicConstraints=critical,CA:FALSE'];
  await openssl(
    'req',
    '-x509',
    ...newKey,
    ...itself,
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    ...extensions.flatMap((extension) => ['-addext', extension]),
  );
  const file = (name: string) => path.join(folder, name);
  return {
    authority: file('ca.crt'),
    flags: [
      '--tls-cert-file',
      file('server.crt'),
      '--tls-key-file',
      file('server.key'),
      '--tls-ca-cert-file',
      file('ca.crt'),
      '--tls-auth-clients',
      'no',
    ],
  };
}

const serve = async (settings: Record<string, string>) => {
  const server = await startServerProcess({
    DATABASE_URL: database.url,
    REDIS_TIMEOUT_MS: '1000',
    ...settings,
  });
  closers.push(async () => await server.end('SIGTERM'));
  const readiness = async () =>
    (await (await fetch(new URL('/readyz', server.url))).json()) as { cache: string };
  return { user: server.client(token), readiness, output: server.output };
};

describe('a Redis that speaks TLS', () => {
  let port: number;
  let authority: string;

  beforeEach(async () => {
    const certificate = await createCertificate('IP:127.0.0.1');
    ({ authority } = certificate);
    port = await getPort();
    await startRedis(['--tls-port', String(port), ...certificate.flags]);
  });

  test('is used if a known authority has signed its certificate', async () => {
    const { user, readiness } = await serve({
      REDIS_URL: `rediss://127.0.0.1:${port}`,
      NODE_EXTRA_CA_CERTS: authority,
    });
    await eventually(async () => (await readiness()).cache === 'up');
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'up' });
  });

  test('is not used if an unknown authority has signed its certificate', async () => {
    const { user, readiness, output } = await serve({ REDIS_URL: `rediss://127.0.0.1:${port}` });
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'down', ready: true });
    const [line, ...more] = output.filter((each) => each.includes('Redis unavailable'));
    expect(line).toMatch(/self-signed certificate|unable to verify/);
    expect(more).toEqual([]);
  }, 60_000);
});

describe('a Redis Cluster that speaks TLS, with a certificate for the host name alone', () => {
  /** Starts a cluster of TLS nodes that announce themselves by host name, as ElastiCache does, or by address. */
  const startCluster = async (certificateOf: string, endpoints: 'hostname' | 'ip') => {
    const certificate = await createCertificate(certificateOf);
    const nodes = await Promise.all(
      [0, 1, 2].map(async () => {
        const tlsPort = await freeClusterPort();
        const redis = await startRedis([
          ...CLUSTER_NODE_SETTINGS,
          ...certificate.flags,
          '--tls-port',
          String(tlsPort),
          '--tls-cluster',
          'yes',
          '--cluster-announce-hostname',
          'localhost',
          '--cluster-preferred-endpoint-type',
          endpoints,
        ]);
        const admin = new Redis(redis.url);
        closers.push(() => admin.disconnect());
        return { redis, admin, tlsPort };
      }),
    );
    await formRedisCluster(nodes.map(({ admin, tlsPort }) => ({ redis: { port: tlsPort }, admin })));
    return {
      authority: certificate.authority,
      settings: {
        REDIS_URL: 'rediss://localhost',
        REDIS_CLUSTER_NODES: nodes.map(({ tlsPort }) => `localhost:${tlsPort}`).join(','),
      },
    };
  };

  test.each(['hostname', 'ip'] as const)(
    'is used if it announces its nodes by %s',
    async (endpoints) => {
      const { authority, settings } = await startCluster('DNS:localhost', endpoints);
      const { user, readiness } = await serve({ ...settings, NODE_EXTRA_CA_CERTS: authority });
      await eventually(async () => (await readiness()).cache === 'up');
      await exerciseApi([user], orgId, database);
      expect(await readiness()).toMatchObject({ cache: 'up' });
    },
    60_000,
  );

  test('is not used if the certificate is for another host, and the reason is logged once', async () => {
    const { authority, settings } = await startCluster('DNS:another.example', 'ip');
    const { user, readiness, output } = await serve({ ...settings, NODE_EXTRA_CA_CERTS: authority });
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'down', ready: true });
    const [line, ...more] = output.filter((each) => each.includes('Redis unavailable'));
    expect(line).toMatch(/does not match certificate's altnames/);
    expect(more).toEqual([]);
  }, 60_000);
});

describe('Sentinels', () => {
  test('receive their own password', async () => {
    const sentinel = await createSentinel({
      settings: ['requirepass "sentinel secret"'],
      password: 'sentinel secret',
    });
    closers.push(sentinel.stop);
    const app = await start({ REDIS_URL: sentinel.url, REDIS_SENTINEL_PASSWORD: 'sentinel secret' });
    await eventually(async () => await isUp(app));
    await exerciseApi([app.user], orgId, database);
    expect(await app.metric('flovo_cache_hits_total')).toBeGreaterThan(0);
    const without = await start({ REDIS_URL: sentinel.url });
    await exerciseApi([without.user], orgId, database);
    expect(await isUp(without)).toBe(false);
  }, 60_000);

  test('that speak TLS, as their masters do, are reached by the host names of their certificates', async () => {
    const certificate = await createCertificate('DNS:localhost');
    const [tlsPort, masterPort] = [await getPort(), await getPort()];
    const sentinel = await createSentinel({
      settings: [`tls-port ${tlsPort}`, 'tls-replication yes', ...certificateLines(certificate.flags)],
      redisSettings: ['--tls-port', String(masterPort), '--tls-replication', 'yes', ...certificate.flags],
      masterPort,
    });
    closers.push(sentinel.stop);
    const { user, readiness } = await serve({
      REDIS_URL: `rediss+sentinel://localhost:${tlsPort}/mymaster`,
      NODE_EXTRA_CA_CERTS: certificate.authority,
    });
    await eventually(async () => (await readiness()).cache === 'up');
    await exerciseApi([user], orgId, database);
    expect(await readiness()).toMatchObject({ cache: 'up' });
  }, 60_000);
});

/** Flags of a server as lines of its configuration file. */
const certificateLines = (flags: readonly string[]): string[] => {
  const lines: string[] = [];
  for (let i = 0; i < flags.length; i += 2) lines.push(`${flags[i]?.slice(2)} ${flags[i + 1]}`);
  return lines;
};
