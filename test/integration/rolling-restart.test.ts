import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { Agent, request } from 'undici';
import getPort, { portNumbers } from 'get-port';

import { startHaProxy, startNginx, type Balancer } from '../support/balancer.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

jest.setTimeout(300_000);

/** Each sends its next request when the last one is answered, so that a busy machine gets fewer instead of late answers. */
const SENDERS = 10;
/** The time between two requests of a sender: at most 200 requests a second through both balancers. */
const INTERVAL_MS = 100;
/** As the documentation says. It is longer than the balancers take to notice, even on a busy machine. */
const SHUTDOWN_DELAY_MS = '2500';

let database: TestDatabase;
let redis: RedisService;
let balancers: readonly Balancer[];
let ports: number[];
const servers: ServerProcess[] = [];
let bots: string[];
let orgId: string;
let token: string;
const traffics: Traffic[] = [];
/** Closes an idle connection before the balancers do: HAProxy after 60 s, nginx after 75 s. */
const agent = new Agent({ connections: 50, keepAliveTimeout: 30_000 });

/** A port that the system gives to no connection: otherwise it could be taken while a server restarts. */
const freePort = async (): Promise<number> => {
  const first = 20_000 + Math.floor(Math.random() * 10_000);
  return await getPort({ port: portNumbers(first, first + 1_000) });
};

const start = async (port: number) =>
  await startServerProcess({
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    PORT: String(port),
    SHUTDOWN_DELAY_MS,
    LOG_LEVEL: 'info',
  });

beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  orgId = await addOrganization(database.sql);
  bots = await addBots(database.sql, orgId, 20);
  ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
  ports = [await freePort(), await freePort(), await freePort()];
  await Promise.all(ports.map(async (port, index) => (servers[index] = await start(port))));
  balancers = await Promise.all([startHaProxy(ports), startNginx(ports)]);
});

afterAll(async () => {
  await Promise.all(traffics.map(async (traffic) => await traffic.end()));
  await Promise.all((balancers ?? []).map(async (balancer) => await balancer.stop()));
  await Promise.all(servers.map(async (server) => await server.end('SIGKILL')));
  await agent.close();
  await redis?.stop();
  await database?.drop();
});

/** The requests through one balancer. */
class Traffic {
  sent = 0;
  readonly failures: string[] = [];
  /** How often each bot was changed. */
  readonly changes = new Map<string, number>();
  /** The addresses of the servers that have answered since they were started. */
  readonly servedBy = new Set<string>();
  private isOver = false;
  private readonly senders: Promise<void>[];

  constructor(private readonly balancer: Balancer) {
    this.senders = Array.from({ length: SENDERS }, async () => await this.keepSending());
  }

  private async keepSending(): Promise<void> {
    while (!this.isOver) {
      const next = pause(INTERVAL_MS);
      await this.sendNext().catch((error: unknown) => this.failures.push(String(error)));
      await next;
    }
  }

  private async sendNext(): Promise<void> {
    const id = bots[this.sent % bots.length] as string;
    const isChange = this.sent % 4 === 0;
    if (isChange) this.changes.set(id, (this.changes.get(id) ?? 0) + 1);
    const description = `change ${this.sent} through ${this.balancer.name}`;
    const asked: [query: string, variables: object] = isChange
      ? [
          'mutation ($id: ID!, $d: String) { updateBot(id: $id, input: { description: $d }) { version } }',
          { id, d: description },
        ]
      : this.sent % 4 === 1
        ? ['query ($org: ID!) { bots(orgId: $org, limit: 5) { total items { id name } } }', { org: orgId }]
        : ['query ($id: ID!) { bot(id: $id) { id name version } }', { id }];
    this.sent++;
    await this.ask(...asked);
  }

  private async ask(query: string, variables: object): Promise<void> {
    const response = await request(this.balancer.url, {
      dispatcher: agent,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ query, variables }),
    });
    const text = await response.body.text();
    const isGood = response.statusCode === 200 && text.startsWith('{"data":');
    if (!isGood) throw new Error(`${response.statusCode} ${text}`);
    // nginx lists all servers that it tried.
    this.servedBy.add(String(response.headers['x-served-by']).split(', ').at(-1) ?? '');
  }

  /** Ends it. @returns a line that counts the failed requests, and shows the first one */
  async end(): Promise<string> {
    this.isOver = true;
    await Promise.all(this.senders);
    const { name } = this.balancer;
    return `${name}: ${this.failures.length} failed ${this.failures[0] ?? ''}`.trim();
  }
}

test('a rolling restart behind HAProxy and nginx fails no query and no mutation, and makes each mutation once', async () => {
  traffics.push(...balancers.map((balancer) => new Traffic(balancer)));
  /** Waits until each balancer uses another server than this one. nginx uses a restarted server again after 8 s. */
  const canStop = async (address: string) =>
    await eventually(() => traffics.every(({ servedBy }) => [...servedBy].some((each) => each !== address)));
  for (const [index, port] of ports.entries()) {
    const address = `127.0.0.1:${port}`;
    await canStop(address);
    expect(await servers[index]?.end('SIGTERM')).toBe(0);
    for (const { servedBy } of traffics) servedBy.delete(address);
    servers[index] = await start(port);
  }
  const outcomes = await Promise.all(traffics.map(async (traffic) => await traffic.end()));
  expect(outcomes).toEqual(['haproxy: 0 failed', 'nginx: 0 failed']);
  for (const { sent } of traffics) expect(sent).toBeGreaterThan(250);
  const rows = await database.sql<{ id: string; version: number }[]>`
    select id, version from bots where id = any(${bots})`;
  const changesOf = (id: string) => traffics.reduce((sum, { changes }) => sum + (changes.get(id) ?? 0), 0);
  for (const { id, version } of rows) expect(version).toBe(1 + changesOf(id));
});
