import 'reflect-metadata';

import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';

import { signToken } from '../src/auth/sign-token.js';
import { migrateDatabase } from '../src/db/migrate.js';
import { bulkLoad, insertBots } from './data/bulk.js';
import { JWT_SECRET } from './data/standard.js';
import { figure, toText } from './report/table.js';
import { CONTENDERS } from './servers/contenders.js';
import { percentile } from './support/numbers.js';
import { startServer, type Server } from './support/server.js';
import { startServices } from './support/services.js';

const LARGE_BOTS = 200_000;
const SMALL_BOTS = 2_000;
const LARGE_ORG = '22222222-0000-4000-8000-000000000001';
const SMALL_ORG = '22222222-0000-4000-8000-000000000002';
const LIST = `query ($orgId: ID!, $page: Int, $limit: Int, $search: String) {
  bots(orgId: $orgId, page: $page, limit: $limit, search: $search) { total items { id name } } }`;

interface Sent {
  readonly status: number;
  readonly ms: number;
  readonly code: string | undefined;
}

/** Sends requests over as many connections as are needed at a time. */
class Sender {
  private readonly agent = new Agent({ keepAlive: true, maxSockets: Infinity });

  constructor(
    private readonly url: URL,
    private readonly token: string,
  ) {}

  /** @param leaveAfterMs when the client closes the connection, whether there is an answer or not */
  async send(query: string, variables: object, leaveAfterMs?: number): Promise<Sent> {
    const body = JSON.stringify({ query, variables });
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${this.token}` };
    return await exchange(this.url, this.agent, { method: 'POST', headers, body, leaveAfterMs });
  }

  /** A page that nobody has asked for before. */
  async coldPage(orgId: string, n: number, search?: string): Promise<Sent> {
    return await this.send(LIST, {
      orgId,
      page: 1 + (n % 20),
      limit: 1 + (Math.floor(n / 20) % 100),
      search,
    });
  }

  close(): void {
    this.agent.destroy();
  }
}

async function exchange(
  url: URL,
  agent: Agent,
  options: {
    method: string;
    headers?: Record<string, string>;
    body?: string;
    leaveAfterMs?: number | undefined;
  },
): Promise<Sent> {
  const startedAt = performance.now();
  return await new Promise<Sent>((resolve) => {
    const settle = (status: number, text: string) => {
      const [, code] = /"code":"(\w+)"/.exec(text) ?? [];
      resolve({ status, ms: performance.now() - startedAt, code });
    };
    const sent = request(url, { agent, method: options.method, headers: options.headers }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += text.length < 2_000 ? chunk.toString() : ''));
      response.on('end', () => settle(response.statusCode ?? 0, text));
      response.on('error', () => settle(0, text));
    });
    sent.on('error', () => settle(0, ''));
    if (options.leaveAfterMs !== undefined) setTimeout(() => sent.destroy(), options.leaveAfterMs).unref();
    sent.end(options.body);
  });
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const quantile = (sent: readonly Sent[], part: number): number =>
  percentile(sorted(sent.map(({ ms }) => ms)), part);

/** Sends one request after another on each of some connections, for a time. Returns what was answered. */
async function load(
  connections: number,
  seconds: number,
  send: (n: number) => Promise<Sent>,
): Promise<Sent[]> {
  const endsAt = performance.now() + seconds * 1_000;
  const answers: Sent[] = [];
  let n = 0;
  await Promise.all(
    Array.from({ length: connections }, async () => {
      while (performance.now() < endsAt) answers.push(await send(n++));
    }),
  );
  return answers;
}

/** A letter in a page of its own each time, so that no answer is known. */
const letter = (n: number): string => 'abcdefghijklmnopqrstuvwxyz'[n % 26] ?? '';

/**
 * `npm run bench -- overload`: what hostile and greedy clients do to others. An organization with 200,000 bots is
 * searched, and another one is read meanwhile; the server, PostgreSQL and the clients share the machine.
 */
async function main(): Promise<void> {
  const services = await startServices();
  const sql = postgres(services.postgres.url, { max: 2, onnotice: () => {} });
  let server: Server | undefined;
  try {
    await migrateDatabase(services.postgres.url);
    const { greedy, other } = await fill(sql);
    const redis = await services.startRedis();
    const [ours] = CONTENDERS;
    if (!ours) throw new Error('There is no server');
    const entry = process.argv[2] ?? ours.entry;
    server = await startServer(
      { ...ours, entry },
      { databaseUrl: services.postgres.url, redisUrl: redis.url },
    );
    const url = new URL(server.url);
    const [attacker, bystander] = [new Sender(url, greedy), new Sender(url, other)];
    const rows = [
      ...(await oneViewer(attacker, bystander)),
      ...(await leavingClients(attacker, bystander, sql)),
      ...(await manySearches(attacker, sql)),
      ...(await flood(url, attacker)),
    ];
    console.log(toText({ title: 'Overload', notes: [], columns: ['', ''], rows }));
    attacker.close();
    bystander.close();
  } finally {
    await server?.stop();
    await sql.end({ timeout: 5 });
    await services.stop();
  }
}

async function fill(sql: postgres.Sql): Promise<{ greedy: string; other: string }> {
  await sql`insert into organizations (id, name, slug) values
    (${LARGE_ORG}, 'Large', 'large'), (${SMALL_ORG}, 'Small', 'small')`;
  await sql`
    insert into users (id, email, name)
    select md5('of ' || id)::uuid, slug || '@example.com', 'Someone' from organizations`;
  await sql`insert into memberships (user_id, org_id, role) select md5('of ' || id)::uuid, id, 'VIEWER' from organizations`;
  await bulkLoad(sql, async () => {
    await insertBots(sql, sql`values (${LARGE_ORG}::uuid, 'large')`, LARGE_BOTS);
    await insertBots(sql, sql`values (${SMALL_ORG}::uuid, 'small')`, SMALL_BOTS);
  });
  const tokens = new Map<string, string>();
  for (const { orgId, userId } of await sql<{ orgId: string; userId: string }[]>`
    select org_id as "orgId", user_id as "userId" from memberships`)
    tokens.set(orgId, await signToken(JWT_SECRET, userId));
  return { greedy: tokens.get(LARGE_ORG) ?? '', other: tokens.get(SMALL_ORG) ?? '' };
}

/** One viewer searches with 12 connections; another organization reads cold pages. */
async function oneViewer(attacker: Sender, bystander: Sender): Promise<string[][]> {
  let page = 0;
  const next = async () => await bystander.coldPage(SMALL_ORG, page++);
  await attacker.send('{ me { id } }', {});
  const calm = await load(1, 5, next);
  const attack = load(12, 12, async (n) => await attacker.coldPage(LARGE_ORG, n, letter(n)));
  await sleep(2_000);
  const beside = await load(1, 8, next);
  const attacks = await attack;
  return [
    [
      'a cold page of an organization: p50, p99 (ms)',
      `${figure(quantile(calm, 0.5))}, ${figure(quantile(calm, 0.99))}`,
    ],
    [
      'the same, beside 12 connections that search 200,000 bots of another for a letter',
      `${figure(quantile(beside, 0.5))}, ${figure(quantile(beside, 0.99))}`,
    ],
    [
      'the searches: answered a second, p50 (ms)',
      `${figure(attacks.length / 12)}, ${figure(quantile(attacks, 0.5))}`,
    ],
  ];
}

const searches = (count: number, salt: number): string =>
  `{ ${Array.from(
    { length: count },
    (_, i) =>
      `a${i}: bots(orgId: "${LARGE_ORG}", search: "${letter(i)}", page: ${1 + ((i + salt) % 90)}) { total items { id } }`,
  ).join(' ')} }`;

/** 60 clients send 20 searches each and leave after 100 ms. */
async function leavingClients(attacker: Sender, bystander: Sender, sql: postgres.Sql): Promise<string[][]> {
  await Promise.all(
    Array.from({ length: 60 }, async (_, i) => await attacker.send(searches(20, i), {}, 100)),
  );
  const light = await bystander.coldPage(SMALL_ORG, 1_999);
  const startedAt = performance.now();
  while ((await running(sql)) > 0) await sleep(20);
  return [
    [
      'a cold page of another organization, after 60 clients asked for 20 searches each and left (ms)',
      figure(light.ms),
    ],
    ['PostgreSQL still works for those who left (ms)', figure(performance.now() - startedAt)],
  ];
}

async function running(sql: postgres.Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from pg_stat_activity
    where datname = current_database() and state = 'active' and query like '%matched%' and pid <> pg_backend_pid()`;
  return row?.count ?? 0;
}

/** One document with 60 searches, and with 20. */
async function manySearches(attacker: Sender, sql: postgres.Sql): Promise<string[][]> {
  const rows: string[][] = [];
  for (const count of [60, 20]) {
    let longestMs = 0;
    const done = new AbortController();
    const watching = (async () => {
      while (!done.signal.aborted) {
        const [row] = await sql<{ ms: number | null }[]>`
          select max(extract(epoch from clock_timestamp() - query_start) * 1000)::float8 as ms from pg_stat_activity
          where datname = current_database() and state = 'active' and query like '%matched%' and pid <> pg_backend_pid()`;
        longestMs = Math.max(longestMs, row?.ms ?? 0);
        await sleep(20);
      }
    })();
    const { status, ms, code } = await attacker.send(searches(count, 500 + count), {});
    done.abort();
    await watching;
    rows.push([
      `a document of ${count} searches: answer, time, longest statement (ms)`,
      `${status} ${code ?? 'data'}, ${figure(ms)}, ${figure(longestMs)}`,
    ]);
  }
  return rows;
}

/** 600 connections of cold searches for 15 s; callers of one organization each have a share, so here it is one. */
async function flood(url: URL, attacker: Sender): Promise<string[][]> {
  const search = async (n: number) =>
    await attacker.coldPage(LARGE_ORG, n + 7, `${letter(n)}${letter(n >> 3)}`);
  const sustainable = await load(40, 10, search);
  const probe = new Agent({ keepAlive: true });
  const done = new AbortController();
  const probes: Record<string, number> = { '/healthz': 0, '/readyz': 0 };
  const probing = Object.keys(probes).map(async (path) => {
    while (!done.signal.aborted) {
      const { ms } = await exchange(new URL(path, url), probe, { method: 'GET' });
      probes[path] = Math.max(probes[path] ?? 0, ms);
      await sleep(50);
    }
  });
  const answers = await load(600, 15, search);
  done.abort();
  await Promise.all(probing);
  const recovering = performance.now();
  let recovered = await attacker.coldPage(LARGE_ORG, 1_234, 'zz');
  while (recovered.status !== 200) recovered = await attacker.coldPage(LARGE_ORG, 1_235, 'zz');
  probe.destroy();
  const good = answers.filter(({ status, code }) => status === 200 && code === undefined);
  const goodBefore = sustainable.filter(({ status, code }) => status === 200 && code === undefined);
  const others = new Map<string, number>();
  for (const { status, code } of answers)
    if (!(status === 200 && code === undefined))
      others.set(`${status} ${code ?? ''}`, (others.get(`${status} ${code ?? ''}`) ?? 0) + 1);
  return [
    [
      '40 connections of cold searches: answered a second, p99 (ms)',
      `${figure(goodBefore.length / 10)}, ${figure(quantile(goodBefore, 0.99))}`,
    ],
    [
      '600 connections: answered a second, p99 (ms)',
      `${figure(good.length / 15)}, ${figure(quantile(good, 0.99))}`,
    ],
    [
      '600 connections: other answers',
      [...others].map(([what, count]) => `${what} × ${count}`).join(', ') || 'none',
    ],
    [
      'meanwhile the slowest /healthz, /readyz (ms)',
      `${figure(probes['/healthz'])}, ${figure(probes['/readyz'])}`,
    ],
    ['the next search is answered after (ms)', figure(performance.now() - recovering)],
  ];
}

await main();
