import { checkConvergence, perform, type Fault, type Outcome } from './fault.js';
import { abandonedTransaction } from './faults/abandoned-transaction.js';
import { clockSteps } from './faults/clock-steps.js';
import { clusterAlone, clusterFailover, clusterNodeCutOff, clusterSlotMigration } from './faults/cluster.js';
import { cutOffFromPostgres } from './faults/cut-off-from-postgres.js';
import { cutOffFromRedis } from './faults/cut-off-from-redis.js';
import { deadlocks } from './faults/deadlocks.js';
import { editorsDemoted } from './faults/editors-demoted.js';
import { evictions } from './faults/evictions.js';
import { failover } from './faults/failover.js';
import { killedAtEachStep } from './faults/killed-at-each-step.js';
import { longTransaction } from './faults/long-transaction.js';
import { none } from './faults/none.js';
import { outsideWrites } from './faults/outside-writes.js';
import { postgresRestarted } from './faults/postgres-restarted.js';
import { redisFull } from './faults/redis-full.js';
import { redisFrozen } from './faults/redis-frozen.js';
import { redisKilled } from './faults/redis-killed.js';
import { redisOff } from './faults/redis-off.js';
import { redisOldDump } from './faults/redis-old-dump.js';
import { redisShortOfMemory } from './faults/redis-short-of-memory.js';
import { redisSlow } from './faults/redis-slow.js';
import { repliesLost } from './faults/replies-lost.js';
import { replicatedWrites } from './faults/replicated-writes.js';
import { serverFrozen } from './faults/server-frozen.js';
import { serverKilled } from './faults/server-killed.js';
import { tablesTruncated } from './faults/tables-truncated.js';
import { ClusterHost } from './cluster-host.js';
import { RedisHost } from './redis-host.js';
import { SentinelHost } from './sentinel-host.js';
import { Span } from './span.js';
import type { RedisSide } from './redis-side.js';
import { CoherenceRun } from './coherence-run.js';
import type { Load } from './workload.js';

export interface RunOptions {
  readonly durationMs: number;
  readonly load: Load;
  /** The run continues after `durationMs` until clients have made this many observations. */
  readonly observations?: number;
  readonly signal: AbortSignal;
}

/** Starts the services and servers for one fault, runs it, and checks the end state. */
export interface FaultRun {
  readonly name: string;
  readonly about: string;
  readonly perform: (options: RunOptions) => Promise<Outcome>;
}

const faultRun = <Side extends RedisSide>(fault: Fault<Side>, startRedis: () => Promise<Side>): FaultRun => ({
  name: fault.name,
  about: fault.about,
  async perform({ durationMs, load, observations, signal }) {
    const run = await CoherenceRun.open<Side>({ ...fault.options, redis: startRedis });
    try {
      const outcome = await perform(fault, run, new Span(durationMs, signal), load, observations);
      outcome.findings.add(await checkConvergence(run, fault.tolerance, new Span(Infinity, signal)));
      return outcome;
    } finally {
      await run.close();
    }
  },
});

const onOneRedis = (fault: Fault): FaultRun => faultRun(fault, async () => await RedisHost.start());

/** The faults that `npm run coherence` runs, in this order. */
export const FAULT_RUNS: readonly FaultRun[] = [
  ...[
    none,
    evictions,
    redisFull,
    redisShortOfMemory,
    clockSteps,
    serverKilled,
    killedAtEachStep,
    serverFrozen,
    redisKilled,
    redisFrozen,
    redisSlow,
    redisOldDump,
    redisOff,
  ].map(onOneRedis),
  faultRun(clusterAlone, async () => await ClusterHost.start()),
  faultRun(clusterNodeCutOff, async () => await ClusterHost.start()),
  faultRun(clusterSlotMigration, async () => await ClusterHost.start(3)),
  faultRun(clusterFailover, async () => await ClusterHost.start(3)),
  faultRun(failover, async () => await SentinelHost.start()),
  ...[
    cutOffFromRedis,
    cutOffFromPostgres,
    postgresRestarted,
    repliesLost,
    longTransaction,
    abandonedTransaction,
    deadlocks,
    outsideWrites,
    replicatedWrites,
    editorsDemoted,
    tablesTruncated,
  ].map(onOneRedis),
];
