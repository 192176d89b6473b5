import postgres from 'postgres';

import { migrateDatabase } from '../../src/db/migrate.js';
import { signToken } from '../../src/auth/sign-token.js';
import { LARGE_ORG, LARGE_OWNER, loadLarge } from '../data/large.js';
import { JWT_SECRET } from '../data/standard.js';
import { contender } from '../servers/contenders.js';
import type { GraphQLRequest } from '../support/client.js';
import { startServer, type Server } from '../support/server.js';
import { detailsRequest, listRequest, statsRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The latency of a read on little and on much data: the p50 of each round (ms). */
export interface GrowthResult {
  readonly read: string;
  readonly temperature: 'warm' | 'cold';
  readonly smallMs: readonly number[];
  readonly largeMs: readonly number[];
}

const LARGE = { bots: 1_000_000, otherOrganizations: 100, botsOfEachOther: 100, messages: 10_000_000 };
const ROUNDS = 7;
const PAGES = 50;
const BOTS = 300;
/** Repetitions of a warm read in a round. */
const WARM_TIMES = 8;

/** The server and data of one size. */
interface Side {
  readonly server: Server;
  readonly token: string;
  readonly orgId: string;
  readonly botIds: readonly string[];
}

/** Compares reads of ours at 1,000 bots with those at 1,000,000 bots and 10,000,000 messages, each side in turn. */
export async function measureGrowth(bench: Bench): Promise<GrowthResult[]> {
  const databaseUrl = await createDatabase(bench);
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} });
  const large = await loadLargeSide(sql, bench).finally(async () => await sql.end());
  const start = async (url: string, database: number): Promise<Server> =>
    await startServer(contender('ours'), { databaseUrl: url, redisUrl: `${bench.redis.url}/${database}` });
  const [smallServer, largeServer] = await Promise.all([
    start(bench.databaseUrl, 29),
    start(databaseUrl, 30),
  ]);
  const { token, orgId } = bench.data;
  const botIds = spread(bench.data.botIds);
  const sides: readonly Side[] = [
    { server: smallServer, token, orgId, botIds },
    { server: largeServer, orgId: LARGE_ORG, ...large },
  ];
  try {
    const results = READS.flatMap(([read]) =>
      TEMPERATURES.map((temperature) => ({
        read,
        temperature,
        smallMs: [] as number[],
        largeMs: [] as number[],
      })),
    );
    // The first round lets the processes compile their code, and PostgreSQL read its files.
    for (let round = 0; round <= ROUNDS; round++) {
      let place = 0;
      for (const [, requestsOf] of READS) {
        for (const temperature of TEMPERATURES) {
          const [smallMs = NaN, largeMs = NaN] = await measureRead(bench, sides, requestsOf, temperature);
          const result = results[place++];
          if (round === 0) continue;
          result?.smallMs.push(smallMs);
          result?.largeMs.push(largeMs);
        }
      }
    }
    bench.say('Compared little with much data');
    return results;
  } finally {
    await Promise.all([smallServer.stop(), largeServer.stop()]);
  }
}

const TEMPERATURES = ['cold', 'warm'] as const;

const READS: readonly (readonly [string, (side: Side) => GraphQLRequest[]])[] = [
  [
    'list page of 20 bots with statistics',
    ({ token, orgId }) => Array.from({ length: PAGES }, (_, i) => listRequest(token, orgId, i + 1)),
  ],
  ['details of a bot', ({ token, botIds }) => botIds.map((id) => detailsRequest(token, id))],
  ['statistics of a bot', ({ token, botIds }) => botIds.map((id) => statsRequest(token, id))],
];

/** Cold: each request once on an empty cache. Warm: the same requests, repeated. */
async function measureRead(
  bench: Bench,
  sides: readonly Side[],
  requestsOf: (side: Side) => GraphQLRequest[],
  temperature: 'warm' | 'cold',
): Promise<number[]> {
  if (temperature === 'cold') {
    await Promise.all(sides.map(async ({ server }) => await bench.adminOf(server).flushdb()));
  }
  const targets = sides.map((side) => ({ url: side.server.url, requests: requestsOf(side) }));
  const once = Math.floor((targets[0]?.requests.length ?? 0) / 1.25);
  const results = await bench.generator.run('alternate', {
    iterations: temperature === 'cold' ? once : once * WARM_TIMES,
    targets,
  });
  return results.map(({ p50Ms }) => p50Ms);
}

async function createDatabase(bench: Bench): Promise<string> {
  const admin = postgres(bench.databaseUrl, { max: 1, onnotice: () => {} });
  await admin`create database large`.finally(async () => await admin.end());
  const url = new URL(bench.databaseUrl);
  url.pathname = '/large';
  await migrateDatabase(url.href);
  return url.href;
}

async function loadLargeSide(sql: postgres.Sql, bench: Bench): Promise<Pick<Side, 'token' | 'botIds'>> {
  await loadLarge(sql, LARGE, bench.say);
  const bots = await sql<{ id: string }[]>`
    select id from bots where org_id = ${LARGE_ORG} order by created_at desc, id desc`;
  return { token: await signToken(JWT_SECRET, LARGE_OWNER), botIds: spread(bots.map(({ id }) => id)) };
}

/** Bots from all over an organization: the newest ones lie side by side in PostgreSQL's files. */
const spread = (ids: readonly string[]): string[] =>
  Array.from({ length: BOTS }, (_, i) => ids[Math.floor((i * ids.length) / BOTS)] ?? '');
