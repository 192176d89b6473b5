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
import { Stage } from './stage.js';
import type { Load } from './workload.js';

export interface RunOptions {
  readonly durationMs: number;
  readonly load: Load;
  /** Goes on after the duration until there are so many. */
  readonly observations?: number;
  readonly signal: AbortSignal;
}

/** A fault with a stage of its own, from the first server to the last check. */
export interface Run {
  readonly name: string;
  readonly about: string;
  readonly perform: (options: RunOptions) => Promise<Outcome>;
}

const run = <Side extends RedisSide>(fault: Fault<Side>, startRedis: () => Promise<Side>): Run => ({
  name: fault.name,
  about: fault.about,
  async perform({ durationMs, load, observations, signal }) {
    const stage = await Stage.open<Side>({ ...fault.stage, redis: startRedis });
    try {
      const outcome = await perform(fault, stage, new Span(durationMs, signal), load, observations);
      outcome.findings.add(await checkConvergence(stage, fault.tolerance, new Span(Infinity, signal)));
      return outcome;
    } finally {
      await stage.close();
    }
  },
});

const ordinary = (fault: Fault): Run => run(fault, async () => await RedisHost.start());

/** All that the long run does, one after another. */
export const RUNS: readonly Run[] = [
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
  ].map(ordinary),
  run(clusterAlone, async () => await ClusterHost.start()),
  run(clusterNodeCutOff, async () => await ClusterHost.start()),
  run(clusterSlotMigration, async () => await ClusterHost.start(3)),
  run(clusterFailover, async () => await ClusterHost.start(3)),
  run(failover, async () => await SentinelHost.start()),
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
  ].map(ordinary),
];
