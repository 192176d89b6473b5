import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

import { SignJWT } from 'jose';
import postgres from 'postgres';

import { JWT_SECRET } from '../data/standard.js';
import { contender } from '../servers/contenders.js';
import { graphqlRequest, type GraphQLRequest } from '../support/client.js';
import { residentMegabytes } from '../support/cpu.js';
import { startServer, type Server } from '../support/server.js';
import { detailsRequest, statsRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The memory of a server process after this many distinct requests. */
export interface SteadyMemoryResult {
  readonly requests: number;
  readonly errors: number;
  /** After a collection of garbage. */
  readonly heapMegabytes: number;
  /** Buffers: the bodies of cached responses. */
  readonly externalMegabytes: number;
  readonly residentMegabytes: number;
  readonly redisMegabytes: number;
}

const BLOCKS = 10;
/** Requests of each kind in a block. */
const BOTS = 4_000;
const DOCUMENTS = 10_000;
const SEARCHES = 10_000;
const TOKENS = 10_000;
/** Requests for a bot that does not exist. */
const UNKNOWN_IDS = 10_000;

const DATABASE = 28;
const CONNECTIONS = 16;
/** Time for a garbage collection and for fills (ms). */
const SETTLING_MS = 1_000;

const SEARCH = `query Search($orgId: ID!, $search: String) {
  bots(orgId: $orgId, search: $search, limit: 5) { total items { id name } }
}`;
const BOT = 'query Named($id: ID!) { bot(id: $id) { id name status } }';

/** A bot, and the token of a user who may read it. */
interface Readable {
  readonly id: string;
  readonly orgId: string;
  readonly userId: string;
  readonly token: string;
}

/**
 * Sends 480,000 requests that all differ, in the bot, the search, the document and its name, the token, or an unknown id, and
 * measures the memory of the process and Redis in between: all caches must be bounded.
 */
export async function measureSteadyMemory(bench: Bench): Promise<SteadyMemoryResult[]> {
  const bots = await readableBots(bench);
  const server = await startServer(contender('ours'), {
    databaseUrl: bench.databaseUrl,
    redisUrl: `${bench.redis.url}/${DATABASE}`,
    execArgv: ['--expose-gc', '--import', gcOnSignal()],
  });
  try {
    let [requests, errors] = [0, 0];
    const results = [await weigh(bench, server, requests, errors)];
    for (let block = 0; block < BLOCKS; block++) {
      const result = await bench.generator.run('load', {
        url: server.url,
        connections: CONNECTIONS,
        requests: await requestsOf(block, bots),
        order: 'once',
        seed: 1,
        durationMs: 0,
      });
      requests += result.requests;
      errors += result.errors;
      results.push(await weigh(bench, server, requests, errors));
      bench.say(`Sent ${requests} differing requests`);
    }
    return results;
  } finally {
    await server.stop();
    await bench.adminOf(server).flushdb();
  }
}

/** The bots of the organizations that have a separate owner each. */
async function readableBots({ databaseUrl, data }: Bench): Promise<Readable[]> {
  const tokens = new Map(data.cold.map(({ orgId, token }) => [orgId, token]));
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} });
  const rows = await sql<Omit<Readable, 'token'>[]>`
    select b.id, b.org_id as "orgId", m.user_id as "userId" from bots as b join memberships as m using (org_id)
    where org_id = any(${[...tokens.keys()]}::uuid[]) order by b.id limit ${BLOCKS * BOTS}`.finally(
    async () => await sql.end(),
  );
  return rows.map((row) => ({ ...row, token: tokens.get(row.orgId) ?? '' }));
}

/** Requests of all kinds in turn; no request is in two blocks. */
async function requestsOf(block: number, bots: readonly Readable[]): Promise<GraphQLRequest[]> {
  const at = (n: number): Readable => bots[n % bots.length] as Readable;
  const own = bots.slice(block * BOTS, (block + 1) * BOTS);
  const secret = new TextEncoder().encode(JWT_SECRET);
  const requests: GraphQLRequest[] = own.flatMap(({ id, token }) => [
    detailsRequest(token, id),
    statsRequest(token, id),
  ]);
  for (let i = 0; i < DOCUMENTS; i++) {
    const n = block * DOCUMENTS + i;
    const { id, token } = at(n);
    const query = `query Document${n}($id: ID!) { bot(id: $id) { id name alias${n}: status } }`;
    requests.push(graphqlRequest(token, query, { id }));
  }
  for (let i = 0; i < SEARCHES; i++) {
    const n = block * SEARCHES + i;
    const { orgId, token } = at(n);
    requests.push(graphqlRequest(token, SEARCH, { orgId, search: `support ${n}` }));
  }
  for (let i = 0; i < TOKENS; i++) {
    const n = block * TOKENS + i;
    const { id, userId } = at(n);
    const token = new SignJWT({ jti: String(n) }).setProtectedHeader({ alg: 'HS256' }).setSubject(userId);
    requests.push(graphqlRequest(await token.sign(secret), BOT, { id }));
  }
  for (let i = 0; i < UNKNOWN_IDS; i++) {
    requests.push(graphqlRequest(at(i).token, BOT, { id: randomUUID() }));
  }
  const stride = 7_919;
  return requests.map((_, i) => requests[(i * stride) % requests.length] as GraphQLRequest);
}

async function weigh(
  bench: Bench,
  server: Server,
  requests: number,
  errors: number,
): Promise<SteadyMemoryResult> {
  await pause(SETTLING_MS);
  process.kill(server.pid, 'SIGUSR2');
  await pause(SETTLING_MS);
  const metrics = await (await fetch(new URL('/metrics', server.url))).text();
  const megabytes = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)?.[1]) / 2 ** 20;
  return {
    requests,
    errors,
    heapMegabytes: megabytes('nodejs_heap_size_used_bytes'),
    externalMegabytes: megabytes('nodejs_external_memory_bytes'),
    residentMegabytes: residentMegabytes(server.pid),
    redisMegabytes:
      Number(/^used_memory:(\d+)/m.exec(await bench.adminOf(server).info('memory'))?.[1]) / 2 ** 20,
  };
}

const gcOnSignal = (): string =>
  pathToFileURL(path.join(process.cwd(), 'dist-bench/bench/support/gc-on-signal.js')).href;
