import 'reflect-metadata';

import { setTimeout as pause } from 'node:timers/promises';

import type { Redis } from 'ioredis';

import { setUp, type Bench } from './measure/bench.js';
import { inboundMessage } from './measure/busy-bot.js';
import { readOptions } from './options.js';
import { figure, toText, type Table } from './report/table.js';
import { ask, graphqlRequest, type GraphQLRequest } from './support/client.js';
import { cpuMicroseconds, familyCpuMicroseconds } from './support/cpu.js';
import { median } from './support/numbers.js';
import { redisUse } from './support/redis-stats.js';
import type { Server } from './support/server.js';
import { detailsRequest, listRequest, updateRequest, workloads } from './workloads/catalogue.js';
import { RECORD } from './workloads/documents.js';

/** A kind of request, and how many of them a round sends. */
interface Operation {
  readonly name: string;
  /** Our server as shipped, or without the response cache. */
  readonly server: 'ours' | 'resolvers';
  readonly requests: readonly GraphQLRequest[];
  /** Whether Redis is emptied before every round. */
  readonly cold: boolean;
  readonly count: number;
}

/** The cost of a request by component; averages of a round. */
interface UnitCost {
  readonly serverMicroseconds: number;
  readonly redisCommands: number;
  readonly redisMicroseconds: number;
  readonly redisBytesIn: number;
  readonly redisBytesOut: number;
  readonly statements: number;
  readonly postgresMicroseconds: number;
  readonly errors: number;
}

const ROUNDS = 5;
const CONNECTIONS = 32;
const COLD_PAGES = 1_000;
const IDLE_MS = 10_000;
/** Time for fills, because readers do not wait for them (ms). */
const FILLED_MS = 200;

/**
 * `npm run bench -- unit-costs`: measures the cost of one request of each kind for the server, Redis and PostgreSQL,
 * and the cost of an idle server. `docs/limits.md` uses these figures.
 */
async function main(): Promise<void> {
  const startedAt = performance.now();
  const bench = await setUp({ ...readOptions([]), servers: ['ours', 'resolvers'] }, (line) =>
    console.log(`[${((performance.now() - startedAt) / 1_000).toFixed(1)} s] ${line}`),
  );
  try {
    const operations = operationsOf(bench);
    const costs = operations.map(() => [] as UnitCost[]);
    // The first round is a warm-up.
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [i, operation] of operations.entries()) {
        const cost = await measure(bench, operation);
        if (round > 0) costs[i]?.push(cost);
      }
      bench.say(`Round ${round} of ${ROUNDS}`);
    }
    const bytes = await Promise.all(
      operations.map(async ({ server, requests }) => {
        const { text } = await ask(serverOf(bench, server).url, requests[0] as GraphQLRequest);
        return Buffer.byteLength(text);
      }),
    );
    console.log(toText(tableOf(operations, costs, bytes)));
    console.log(`\n${await measureIdle(bench)}`);
  } finally {
    await bench.stop();
  }
}

function operationsOf({ data }: Bench): Operation[] {
  const { token, orgId } = data;
  const hot = data.botIds.slice(0, 200);
  const pages = Array.from({ length: 50 }, (_, i) => listRequest(token, orgId, i + 1));
  const details = hot.map((id) => detailsRequest(token, id));
  const allDetails = data.botIds.map((id) => detailsRequest(token, id));
  const coldPages = workloads(data, COLD_PAGES).find(({ id }) => id === 'cold')?.requests ?? [];
  const record = (botId: string, i: number): GraphQLRequest =>
    graphqlRequest(token, RECORD, { botId, messages: [inboundMessage(i)] });
  return [
    { name: 'details, cached response', server: 'ours', requests: details, cold: false, count: 10_000 },
    { name: 'list page, cached response', server: 'ours', requests: pages, cold: false, count: 10_000 },
    {
      name: 'details, response cache off',
      server: 'resolvers',
      requests: details,
      cold: false,
      count: 8_000,
    },
    {
      name: 'list page, response cache off',
      server: 'resolvers',
      requests: pages,
      cold: false,
      count: 3_000,
    },
    { name: 'details, cold', server: 'ours', requests: allDetails, cold: true, count: data.botIds.length },
    { name: 'list page, cold', server: 'ours', requests: coldPages, cold: true, count: COLD_PAGES },
    {
      name: 'updateBot',
      server: 'ours',
      requests: hot.map((id, i) => updateRequest(token, id, `Renamed ${i}`)),
      cold: false,
      count: 1_000,
    },
    {
      name: 'recordMessages, 1 message',
      server: 'ours',
      requests: data.botIds.slice(200, 400).map(record),
      cold: false,
      count: 1_000,
    },
  ];
}

const serverOf = ({ servers }: Bench, id: string): Server => {
  const found = servers.find(({ contender }) => contender.id === id);
  if (!found) throw new Error(`${id} is not running`);
  return found;
};

async function measure(bench: Bench, { server: id, requests, cold, count }: Operation): Promise<UnitCost> {
  const server = serverOf(bench, id);
  const admin = bench.adminOf(server);
  const send = async (times: number) =>
    await bench.generator.run('load', {
      url: server.url,
      connections: CONNECTIONS,
      requests: Array.from({ length: times }, (_, i) => requests[i % requests.length] as GraphQLRequest),
      order: 'once',
      seed: 1,
      durationMs: 0,
    });
  if (cold) await admin.flushdb();
  else await send(requests.length);
  await pause(FILLED_MS);
  const look = async () => ({
    ...(await server.counters()),
    ...(await redisUse(admin)),
    ...(await traffic(admin)),
    server: cpuMicroseconds(server.pid),
    postgres: familyCpuMicroseconds(bench.services.postgres.pid),
  });
  const before = await look();
  const { errors } = await send(count);
  await pause(FILLED_MS);
  const after = await look();
  const each = (name: keyof typeof before): number => (after[name] - before[name]) / count;
  return {
    serverMicroseconds: each('server'),
    redisCommands: each('commands'),
    redisMicroseconds: each('cpuMicroseconds'),
    redisBytesIn: each('bytesIn'),
    redisBytesOut: each('bytesOut'),
    statements: each('statements'),
    postgresMicroseconds: each('postgres'),
    errors,
  };
}

async function traffic(admin: Redis): Promise<{ bytesIn: number; bytesOut: number }> {
  const stats = await admin.info('stats');
  const total = (name: string): number => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(stats)?.[1]);
  return { bytesIn: total('total_net_input_bytes'), bytesOut: total('total_net_output_bytes') };
}

const tableOf = (
  operations: readonly Operation[],
  costs: readonly (readonly UnitCost[])[],
  bytes: readonly number[],
): Table => ({
  title: 'What one request costs',
  notes: [],
  columns: [
    'request',
    'answer bytes',
    'server µs',
    'Redis commands',
    'Redis µs',
    'to Redis, bytes',
    'from Redis',
    'SQL',
    'PostgreSQL µs',
    'errors',
  ],
  rows: operations.map(({ name }, i) => {
    const of = (figureOf: (cost: UnitCost) => number): number => median((costs[i] ?? []).map(figureOf));
    return [
      name,
      figure(bytes[i]),
      figure(of(({ serverMicroseconds }) => serverMicroseconds)),
      figure(of(({ redisCommands }) => redisCommands)),
      figure(of(({ redisMicroseconds }) => redisMicroseconds)),
      figure(of(({ redisBytesIn }) => redisBytesIn)),
      figure(of(({ redisBytesOut }) => redisBytesOut)),
      figure(of(({ statements }) => statements)),
      figure(of(({ postgresMicroseconds }) => postgresMicroseconds)),
      String((costs[i] ?? []).reduce((sum, { errors }) => sum + errors, 0)),
    ];
  }),
});

/** The cost of a server that only reads the invalidation log, ten times a second; for PostgreSQL see `tail-cost`. */
async function measureIdle({ servers }: Bench): Promise<string> {
  const look = () => servers.reduce((sum, { pid }) => sum + cpuMicroseconds(pid), 0);
  const before = look();
  await pause(IDLE_MS);
  return `A server that nobody asks anything: ${figure((look() - before) / servers.length / IDLE_MS)} ms/s of CPU`;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
