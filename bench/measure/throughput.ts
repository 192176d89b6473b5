import type { LoadResult, LoadTask } from '../load/tasks.js';
import { cpuMicroseconds } from '../support/cpu.js';
import { redisUse } from '../support/redis-stats.js';
import type { Server } from '../support/server.js';
import type { Workload } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The figures of one round. */
export interface Round {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** CPU time of the server process for a request. */
  readonly cpuMicroseconds: number;
  readonly redisMicroseconds: number;
  readonly redisCommands: number;
  readonly statements: number;
  /** Undefined if no value was looked up. */
  readonly hitRate: number | undefined;
  readonly errors: number;
  readonly firstError: string | undefined;
}

/** All rounds of one workload on one server. */
export interface ThroughputResult {
  readonly workload: Workload;
  readonly server: Server;
  readonly rounds: readonly Round[];
}

const CONNECTIONS = 64;
const PRIMING_CONNECTIONS = 16;
const WARMING_COLD_READS = 200;

/** Measures every workload on every server, round by round; the order of the servers rotates. */
export async function measureThroughput(
  bench: Bench,
  workloads: readonly Workload[],
): Promise<ThroughputResult[]> {
  const { options, servers } = bench;
  const results = workloads.flatMap((workload) =>
    servers
      .filter((server) => canServe(server, workload))
      .map((server) => ({ workload, server, rounds: [] as Round[] })),
  );
  for (const { server, workload } of results) await warmUp(bench, server, workload);
  bench.say('Warmed up');
  for (let round = 1; round <= options.pace.rounds; round++) {
    for (const workload of workloads) {
      const group = results.filter((each) => each.workload === workload);
      for (let i = 0; i < group.length; i++) {
        const { server, rounds } = group[(i + round) % group.length] as (typeof group)[number];
        rounds.push(await measure(bench, server, workload, round));
      }
    }
    bench.say(`Round ${round} of ${options.pace.rounds}`);
  }
  return results;
}

/** The ceiling has stored the answers of the first round, so it cannot answer what only a later round asks. */
const canServe = ({ contender }: Server, { cold, updates, requestsOf }: Workload): boolean =>
  (contender.onlyReads !== true || (!cold && updates === undefined)) &&
  (contender.id !== 'ceiling' || requestsOf === undefined);

/** Empties or fills the cache, as the workload requires. */
async function prepare(bench: Bench, server: Server, workload: Workload): Promise<void> {
  if (workload.cold) {
    // The ceiling has no misses: keep its stored answers.
    if (server.contender.id !== 'ceiling') await bench.adminOf(server).flushdb();
  } else {
    await load(bench, server, workload, { order: 'once', connections: PRIMING_CONNECTIONS });
  }
}

/** Warms up the process's code; not measured. */
async function warmUp(bench: Bench, server: Server, workload: Workload): Promise<void> {
  await prepare(bench, server, workload);
  if (workload.cold) {
    const reads = Math.min(WARMING_COLD_READS, bench.options.pace.coldReads);
    const requests = workload.requests.slice(0, reads);
    await load(bench, server, { ...workload, requests }, { order: 'once' });
  } else {
    await load(bench, server, workload, { durationMs: bench.options.pace.measureMs / 2 });
  }
}

async function load(
  { generator }: Bench,
  server: Server,
  { requests, updates }: Workload,
  { order = 'random', connections = CONNECTIONS, durationMs = 0, seed = 1 }: Partial<LoadTask>,
): Promise<LoadResult> {
  return await generator.run('load', {
    url: server.url,
    connections,
    requests,
    order,
    seed,
    durationMs,
    ...(updates === undefined ? {} : { among: updates }),
  });
}

async function measure(bench: Bench, server: Server, workload: Workload, round: number): Promise<Round> {
  const { warmUpMs, measureMs } = bench.options.pace;
  const admin = bench.adminOf(server);
  const requests = workload.requestsOf?.(round) ?? workload.requests;
  await prepare(bench, server, workload);
  if (!workload.cold) await load(bench, server, workload, { durationMs: warmUpMs });
  const [counters, use, cpu] = [await server.counters(), await redisUse(admin), cpuMicroseconds(server.pid)];
  const result = await load(
    bench,
    server,
    { ...workload, requests },
    {
      order: workload.cold ? 'once' : 'random',
      durationMs: measureMs,
      seed: round,
    },
  );
  const cpuAfter = cpuMicroseconds(server.pid);
  const [countersAfter, useAfter] = [await server.counters(), await redisUse(admin)];

  const each = (total: number): number => total / result.requests;
  const hits = countersAfter.hits - counters.hits;
  const lookups = hits + countersAfter.misses - counters.misses;
  return {
    requestsPerSecond: (result.requests * 1_000) / result.elapsedMs,
    p50Ms: result.p50Ms,
    p99Ms: result.p99Ms,
    cpuMicroseconds: each(cpuAfter - cpu),
    redisMicroseconds: each(useAfter.cpuMicroseconds - use.cpuMicroseconds),
    redisCommands: each(useAfter.commands - use.commands),
    statements: each(countersAfter.statements - counters.statements),
    hitRate: lookups === 0 ? undefined : hits / lookups,
    errors: result.errors,
    firstError: result.firstError,
  };
}
