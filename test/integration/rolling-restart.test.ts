import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { Agent, request } from 'undici';
import getPort from 'get-port';

import { eventually } from '../support/eventually.js';
import { startHaProxy, type HaProxy } from '../support/haproxy.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

jest.setTimeout(300_000);

const SERVERS = 3;
const REQUESTS_PER_SECOND = 200;
/** Longer than HAProxy takes to notice, even on a busy machine: it checks every 500 ms, and again 50 ms later. */
const SHUTDOWN_DELAY_MS = '2500';

describe('a rolling restart behind HAProxy', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let haProxy: HaProxy;
  let ports: number[];
  let servers: ServerProcess[] = [];
  let bots: string[];
  let orgId: string;
  let token: string;
  const agent = new Agent({ connections: 50, keepAliveTimeout: 60_000 });

  const start = async (index: number) =>
    await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      PORT: String(ports[index]),
      SHUTDOWN_DELAY_MS,
      LOG_LEVEL: 'info',
    });

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    bots = await addBots(database.sql, orgId, 20);
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    ports = [await getPort(), await getPort(), await getPort()];
    servers = await Promise.all(ports.map(async (_port, index) => await start(index)));
    haProxy = await startHaProxy(ports);
  });

  afterAll(async () => {
    await haProxy?.stop();
    await Promise.all(servers.map(async (server) => await server.end('SIGKILL')));
    await agent.close();
    await redis?.stop();
    await database?.drop();
  });

  const isUp = async (index: number) => await eventually(async () => await haProxy.isUp(index));

  /** Sends one request. @returns its failure, if it failed */
  async function ask(query: string, variables: object): Promise<string | undefined> {
    try {
      const response = await request(haProxy.url, {
        dispatcher: agent,
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query, variables }),
      });
      const text = await response.body.text();
      const isGood = response.statusCode === 200 && text.startsWith('{"data":');
      return isGood ? undefined : `${response.statusCode} ${text}`;
    } catch (error) {
      return String(error);
    }
  }

  test('fails no query and no mutation, and makes each mutation once', async () => {
    await Promise.all(servers.map(async (_server, index) => await isUp(index)));
    const failures: string[] = [];
    const answers: Promise<void>[] = [];
    const changes = new Map<string, number>();
    let sent = 0;
    const sendNext = () => {
      const id = bots[sent % bots.length] as string;
      const isChange = sent % 4 === 0;
      const query = isChange
        ? 'mutation ($id: ID!, $d: String) { updateBot(id: $id, input: { description: $d }) { version } }'
        : sent % 4 === 1
          ? 'query ($org: ID!) { bots(orgId: $org, limit: 5) { total items { id name } } }'
          : 'query ($id: ID!) { bot(id: $id) { id name version } }';
      const variables = isChange
        ? { id, d: `change ${sent}` }
        : query.includes('$org')
          ? { org: orgId }
          : { id };
      if (isChange) changes.set(id, (changes.get(id) ?? 0) + 1);
      sent++;
      answers.push(
        ask(query, variables).then((failure) => {
          if (failure !== undefined) failures.push(failure);
        }),
      );
    };
    // Scheduled by the clock, so that a late timer does not reduce the rate.
    const startedAt = performance.now();
    const timer = setInterval(() => {
      while (sent < ((performance.now() - startedAt) / 1_000) * REQUESTS_PER_SECOND) sendNext();
    }, 5);
    try {
      for (let index = 0; index < SERVERS; index++) {
        expect(await servers[index]?.end('SIGTERM')).toBe(0);
        servers[index] = await start(index);
        await isUp(index);
      }
    } finally {
      clearInterval(timer);
    }
    await Promise.all(answers);
    expect(sent).toBeGreaterThan(500);
    expect({ failed: failures.length, of: sent, first: failures[0] }).toEqual({
      failed: 0,
      of: sent,
      first: undefined,
    });
    const rows = await database.sql`select id, version from bots where id = any(${[...changes.keys()]})`;
    for (const { id, version } of rows) expect(version).toBe(1 + (changes.get(id as string) ?? 0));
  });
});
