import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';

import type { RedisState } from '../cache/core/observer.js';
import { LATENCY_BUCKETS } from '../metrics/families.js';
import { totalOf, totalsOf, type Latency, type MetricValues } from '../metrics/metric-values.js';
import { EventLoopDelay } from './event-loop-delay.js';
import type { KnownProcesses } from './known-processes.js';
import type { ServerProcess } from './server-process.repository.js';

/** What this process knows of the services that it uses. */
interface Health {
  readonly database: 'up' | 'down';
  readonly cache: RedisState | 'off';
  /** What Redis refuses, if the cache is `degraded`. */
  readonly reason?: string | undefined;
  readonly invalidationLogAgeMs: number | null;
}

/** Counts of one cached resource since the process started. */
interface ResourceCounts {
  readonly hits: number;
  /** The time of its reads, each of one or more values. */
  readonly reads: Latency;
  readonly misses: Readonly<Record<string, number>>;
  readonly joined: number;
  readonly waited: number;
  readonly loads: number;
  readonly loadedValues: number;
  readonly refreshed: Readonly<Record<string, number>>;
  readonly fills: Readonly<Record<string, number>>;
  readonly replacements: Readonly<Record<string, number>>;
  /** Invalidated tags that its values depend on, by cause. */
  readonly invalidations: Readonly<Record<string, number>>;
  /** What this process has decided: `store`, `refresh`; 1: it does. */
  readonly policy: Readonly<Record<string, number>>;
}

interface OperationCounts {
  readonly operation: string;
  readonly type: string;
  readonly count: number;
  readonly seconds: number;
}

/**
 * The body of `GET /console/state`: counts of this process since its start. The page asks repeatedly and draws the
 * differences, so the server keeps no history.
 */
export interface ConsoleState {
  /** When the state was read (ms since 1970). */
  readonly at: number;
  readonly process: {
    /** Differs for each process, so that the page can tell processes behind a balancer apart. */
    readonly id: string;
    readonly host: string;
    readonly pid: number;
    readonly version: string;
    readonly node: string;
    readonly startedAt: number;
    readonly cpuSeconds: number;
    readonly memoryBytes: number;
    readonly eventLoopDelayP99: number | null;
  };
  readonly health: Health;
  readonly resources: Readonly<Record<string, ResourceCounts>>;
  readonly invalidations: Readonly<Record<string, number>>;
  readonly operations: readonly OperationCounts[];
  readonly latencies: {
    /** The upper bounds of the buckets, in seconds. */
    readonly bounds: readonly number[];
    readonly redis: Readonly<Record<string, Latency>>;
    readonly sql: Latency;
  };
  /** null if it is switched off. */
  readonly responseCache: {
    readonly entries: number;
    readonly bytes: number;
    readonly maxBytes: number;
  } | null;
  readonly invalidationLogTags: number;
  readonly redisFailures: number;
  readonly pool: { readonly max: number; readonly inUse: number; readonly waiting: number };
  /** The processes that read the invalidation log, this one included; null if PostgreSQL cannot be asked. */
  readonly processes: readonly ServerProcess[] | null;
}

const NO_LATENCY: Latency = { count: 0, seconds: 0, upTo: LATENCY_BUCKETS.map(() => 0) };

/** Makes the states that the console shows. */
export class ConsoleStates {
  private readonly id = randomUUID();
  private readonly startedAt = Math.round(performance.timeOrigin);
  private readonly eventLoopDelay = new EventLoopDelay();

  constructor(
    private readonly parts: {
      readonly metrics: MetricValues;
      readonly health: () => Promise<Health>;
      /** 0: there is no response cache. */
      readonly maxResponseCacheBytes: number;
      readonly processes: Pick<KnownProcesses, 'list'>;
    },
  ) {}

  async read(): Promise<ConsoleState> {
    const { metrics, processes } = this.parts;
    const [health, resources, operations, latencies, invalidations, own, known, responseCache] =
      await Promise.all([
        this.parts.health(),
        resourceCounts(metrics),
        operationCounts(metrics),
        latenciesOf(metrics),
        metrics.totalsBy('flovo_cache_invalidated_tags_total', 'cause'),
        this.ownProcess(),
        processes.list(),
        this.responseCache(),
      ]);
    return {
      at: Date.now(),
      process: own,
      health,
      resources,
      invalidations,
      operations,
      latencies,
      responseCache,
      invalidationLogTags: await metrics.total('flovo_invalidation_log_tags'),
      redisFailures: await metrics.total('flovo_redis_failures_total'),
      pool: {
        max: await metrics.total('flovo_sql_pool_max_connections'),
        inUse: await metrics.total('flovo_sql_pool_connections_in_use'),
        waiting: await metrics.total('flovo_sql_pool_waiting'),
      },
      processes: known,
    };
  }

  private async ownProcess(): Promise<ConsoleState['process']> {
    const [build] = await this.parts.metrics.series('flovo_build_info');
    const { user, system } = process.cpuUsage();
    return {
      id: this.id,
      host: hostname(),
      pid: process.pid,
      version: build?.labels.version ?? 'unknown',
      node: process.versions.node,
      startedAt: this.startedAt,
      cpuSeconds: (user + system) / 1e6,
      memoryBytes: process.memoryUsage.rss(),
      eventLoopDelayP99: this.eventLoopDelay.p99(),
    };
  }

  private async responseCache(): Promise<ConsoleState['responseCache']> {
    const { metrics, maxResponseCacheBytes: maxBytes } = this.parts;
    if (maxBytes === 0) return null;
    return {
      entries: await metrics.total('flovo_response_cache_entries'),
      bytes: await metrics.total('flovo_response_cache_bytes'),
      maxBytes,
    };
  }
}

async function resourceCounts(metrics: MetricValues): Promise<Record<string, ResourceCounts>> {
  const read = async (name: string) => await metrics.seriesBy(`flovo_cache_${name}_total`, 'resource');
  const [hits, misses, joined, waited, loads, loadedValues, refreshed, fills, replacements, invalidations] =
    await Promise.all([
      read('hits'),
      read('misses'),
      read('joined_loads'),
      read('waited_loads'),
      read('loads'),
      read('loaded_values'),
      read('refreshed'),
      read('fills'),
      read('replacements'),
      read('invalidations'),
    ]);
  const policies = await metrics.seriesBy('flovo_cache_policy', 'resource');
  const reads = new Map(
    (await metrics.latencies('flovo_cache_read_duration_seconds')).map(({ labels, ...latency }) => [
      labels.resource,
      latency,
    ]),
  );
  const names = new Set(
    [hits, misses, joined, loads, refreshed, replacements, invalidations].flatMap((by) => [...by.keys()]),
  );
  const countsOf = (name: string): ResourceCounts => ({
    hits: totalOf(hits.get(name)),
    reads: reads.get(name) ?? NO_LATENCY,
    misses: totalsOf(misses.get(name), 'reason'),
    joined: totalOf(joined.get(name)),
    waited: totalOf(waited.get(name)),
    loads: totalOf(loads.get(name)),
    loadedValues: totalOf(loadedValues.get(name)),
    refreshed: totalsOf(refreshed.get(name), 'outcome'),
    fills: totalsOf(fills.get(name), 'result'),
    replacements: totalsOf(replacements.get(name), 'result'),
    invalidations: totalsOf(invalidations.get(name), 'cause'),
    policy: totalsOf(policies.get(name), 'decision'),
  });
  return Object.fromEntries([...names].toSorted().map((name) => [name, countsOf(name)]));
}

async function operationCounts(metrics: MetricValues): Promise<readonly OperationCounts[]> {
  const latencies = await metrics.latencies('flovo_graphql_operation_duration_seconds');
  return latencies.map(({ labels, count, seconds }) => ({
    operation: labels.operation ?? '',
    type: labels.type ?? '',
    count,
    seconds,
  }));
}

async function latenciesOf(metrics: MetricValues): Promise<ConsoleState['latencies']> {
  const [redis, [statements = NO_LATENCY]] = await Promise.all([
    metrics.latencies('flovo_redis_round_trip_duration_seconds'),
    metrics.latencies('flovo_sql_statement_duration_seconds'),
  ]);
  return {
    bounds: LATENCY_BUCKETS,
    redis: Object.fromEntries(redis.map(({ labels, ...latency }) => [labels.operation ?? '', latency])),
    sql: statements,
  };
}
