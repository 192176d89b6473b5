import { Redis } from 'ioredis';

import { CLUSTER_NODE_SETTINGS, formRedisCluster } from '../../test/support/form-redis-cluster.js';
import type { LoadResult, StaleResult } from '../load/tasks.js';
import { contender, type Contender } from '../servers/contenders.js';
import type { GraphQLRequest } from '../support/client.js';
import { familyCpuMicroseconds } from '../support/cpu.js';
import { redisUse, type RedisUse } from '../support/redis-stats.js';
import { startServer, type Server } from '../support/server.js';
import { workloads, type Workload } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The cost of a request for all processes together. */
export interface FleetRound {
  readonly requestsPerSecond: number;
  readonly cpuMicroseconds: number;
  readonly redisMicroseconds: number;
  readonly redisCommands: number;
  readonly statements: number;
  readonly hitRate: number;
  readonly errors: number;
}

/** Several server processes behind one port, on one Redis or on a Redis Cluster. */
export interface ScaleOutResult {
  readonly processes: number;
  readonly redisNodes: number;
  readonly workloads: readonly { readonly workload: Workload; readonly rounds: readonly FleetRound[] }[];
  readonly stale: StaleResult;
}

/** A {@link ScaleOutResult} to which rounds are added. */
interface Fleet {
  readonly processes: number;
  readonly server: Server;
  /** A client of each Redis node. */
  readonly admins: readonly Redis[];
  readonly rounds: ReadonlyMap<Workload, FleetRound[]>;
}

const PROCESSES_ON_ONE_REDIS = [1, 2, 4];
const PROCESSES_ON_CLUSTER = [1, 2];
const CLUSTER_NODES = 3;
/** Unused databases of the common Redis. */
const FIRST_DATABASE = 20;
const WORKLOADS = new Set(['list', 'mix']);
/** Connections per process: the same number for each, so that each can share its round trips among as many requests. */
const CONNECTIONS_OF_A_PROCESS = 32;
/** Warm-up requests of a round per process, because cached values have expired since the last one. */
const WARMING_REQUESTS = 500;
/** A stride, so that requests do not visit the bots or the pages in order. */
const STRIDE = 7;
const WRITTEN_BOTS = 8;
const READERS = 16;

/** Measures the same load on 1, 2 and 4 processes with one Redis, and on 1 and 2 with a Redis Cluster. */
export async function measureScaleOut(bench: Bench): Promise<ScaleOutResult[]> {
  const chosen = workloads(bench.data, 0).filter(({ id }) => WORKLOADS.has(id));
  const fleets: Fleet[] = [];
  const cluster = await startCluster(bench);
  try {
    const start = async (
      processes: number,
      redisUrl: string,
      admins: readonly Redis[],
      nodes = '',
    ): Promise<void> => {
      const server = await startServer(severalOf(processes, nodes), {
        databaseUrl: bench.databaseUrl,
        redisUrl,
      });
      const rounds = new Map(chosen.map((workload) => [workload, [] as FleetRound[]]));
      fleets.push({
        processes,
        server,
        rounds,
        admins: admins.length > 0 ? admins : [bench.adminOf(server)],
      });
    };
    for (const [i, processes] of PROCESSES_ON_ONE_REDIS.entries()) {
      await start(processes, `${bench.redis.url}/${FIRST_DATABASE + i}`, []);
    }
    const addresses = cluster.map(({ redis }) => `127.0.0.1:${redis.port}`).join(',');
    for (const processes of PROCESSES_ON_CLUSTER) {
      await start(
        processes,
        'off',
        cluster.map(({ admin }) => admin),
        addresses,
      );
    }
    await measureAll(bench, fleets, chosen);
    const results: ScaleOutResult[] = [];
    for (const { processes, server, admins, rounds } of fleets) {
      results.push({
        processes,
        redisNodes: admins.length,
        workloads: [...rounds].map(([workload, each]) => ({ workload, rounds: each })),
        stale: await readBesideWrites(bench, server),
      });
    }
    bench.say('Compared one process with several');
    return results;
  } finally {
    await Promise.all(fleets.map(async ({ server }) => await server.stop()));
    for (const { admin, redis } of cluster) {
      admin.disconnect();
      await redis.stop();
    }
  }
}

/** Starts this many processes of our server; the harness queries the one that distributes the connections. */
function severalOf(processes: number, clusterNodes: string): Contender {
  return {
    ...contender('ours'),
    title: `Flovo Bots, processes: ${processes}`,
    entry: 'bench/servers/several.js',
    env: {
      BENCH_PROCESSES: String(processes),
      ...(clusterNodes === '' ? {} : { REDIS_CLUSTER_NODES: clusterNodes }),
    },
    role: 'reference',
  };
}

async function startCluster(bench: Bench) {
  const nodes = await Promise.all(
    Array.from({ length: CLUSTER_NODES }, async () => {
      const redis = await bench.services.startRedis(CLUSTER_NODE_SETTINGS);
      return { redis, admin: new Redis(redis.url) };
    }),
  );
  await formRedisCluster(nodes);
  return nodes;
}

/** Each workload on each fleet in turn, so that all are measured under the same conditions. */
async function measureAll(
  bench: Bench,
  fleets: readonly Fleet[],
  chosen: readonly Workload[],
): Promise<void> {
  const { rounds } = bench.options.pace;
  for (const fleet of fleets) {
    for (const workload of chosen) await send(bench, fleet, workload, bench.options.pace.fleetWarming);
    bench.say(`Warmed up ${fleet.server.contender.title}`);
  }
  for (let round = 1; round <= rounds; round++) {
    for (const workload of chosen) {
      for (let i = 0; i < fleets.length; i++) {
        const fleet = fleets[(i + round) % fleets.length] as Fleet;
        fleet.rounds.get(workload)?.push(await measure(bench, fleet, workload));
      }
    }
  }
}

async function measure(bench: Bench, fleet: Fleet, workload: Workload): Promise<FleetRound> {
  const { server } = fleet;
  await send(bench, fleet, workload, WARMING_REQUESTS);
  const [counters, use] = [await server.counters(), await useOf(fleet)];
  const cpu = familyCpuMicroseconds(server.pid);
  const result = await send(bench, fleet, workload, bench.options.pace.fleetRequests);
  const cpuAfter = familyCpuMicroseconds(server.pid);
  const [countersAfter, useAfter] = [await server.counters(), await useOf(fleet)];
  const each = (total: number): number => total / result.requests;
  const hits = countersAfter.hits - counters.hits;
  return {
    requestsPerSecond: (result.requests * 1_000) / result.elapsedMs,
    cpuMicroseconds: each(cpuAfter - cpu),
    redisMicroseconds: each(useAfter.cpuMicroseconds - use.cpuMicroseconds),
    redisCommands: each(useAfter.commands - use.commands),
    statements: each(countersAfter.statements - counters.statements),
    hitRate: hits / (hits + countersAfter.misses - counters.misses),
    errors: result.errors,
  };
}

/**
 * Sends this many requests per process, updates among them. Until a process has compiled its code, after some 10,000 requests,
 * each request costs it several times more. A warm-up of fixed time would send fewer requests to each of many processes.
 */
async function send(
  { generator }: Bench,
  { server, processes }: Fleet,
  { requests, updates }: Workload,
  forEachProcess: number,
): Promise<LoadResult> {
  const everyNth = updates === undefined ? Infinity : Math.round(1 / updates.part);
  const at = (all: readonly GraphQLRequest[], i: number) => all[i % all.length] as GraphQLRequest;
  return await generator.run('load', {
    url: server.url,
    connections: CONNECTIONS_OF_A_PROCESS * processes,
    requests: Array.from({ length: forEachProcess * processes }, (_, i) =>
      updates !== undefined && i % everyNth === 0
        ? at(updates.requests, i / everyNth)
        : at(requests, i * STRIDE),
    ),
    order: 'once',
    seed: 1,
    durationMs: 0,
  });
}

/** The counts of all Redis nodes so far. */
async function useOf({ admins }: Fleet): Promise<RedisUse> {
  const uses = await Promise.all(admins.map(redisUse));
  return {
    commands: uses.reduce((sum, { commands }) => sum + commands, 0),
    cpuMicroseconds: uses.reduce((sum, { cpuMicroseconds }) => sum + cpuMicroseconds, 0),
  };
}

/** Writers and readers over connections that are distributed among the processes. */
async function readBesideWrites({ data, generator, options }: Bench, { url }: Server): Promise<StaleResult> {
  return await generator.run('stale', {
    urls: [url],
    token: data.token,
    orgId: data.orgId,
    botIds: data.botIds.slice(0, WRITTEN_BOTS),
    readers: READERS,
    durationMs: options.pace.fleetStaleMs,
  });
}
