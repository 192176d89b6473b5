import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

import type { CacheObserver } from '../cache/core/observer.js';

/** The server's Prometheus metrics. Each application has its own registry, so that one process can run several. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[]) =>
    new Counter({ name, help, labelNames, registers });

  const hits = counter('flovo_cache_hits_total', 'Reads answered from Redis', ['resource']);
  const misses = counter('flovo_cache_misses_total', 'Reads not answered from Redis, and why', [
    'resource',
    'reason',
  ]);
  const joins = counter('flovo_cache_joined_loads_total', 'Reads that shared a load of this process', [
    'resource',
  ]);
  const waits = counter('flovo_cache_waited_loads_total', 'Reads that got the value another process loaded', [
    'resource',
  ]);
  const loads = counter('flovo_cache_loads_total', 'Database reads made for the cache', ['resource']);
  const loadedRows = counter('flovo_cache_loaded_values_total', 'Values asked of the database', ['resource']);
  const roundTrips = counter('flovo_redis_round_trips_total', 'Round trips to Redis', ['operation']);
  const failures = counter('flovo_redis_failures_total', 'Round trips to Redis that failed', [
    'operation',
    'reason',
  ]);
  const up = new Gauge({
    name: 'flovo_redis_up',
    help: '1 while Redis is used, 0 while it is avoided',
    registers,
  });
  const changes = counter(
    'flovo_redis_state_changes_total',
    'How often Redis was lost (down), refused what is needed (degraded) or was found again',
    ['to'],
  );

  const tooLarge = counter('flovo_cache_too_large_total', 'Values answered but too large to be stored', [
    'resource',
  ]);

  const momentChecks = counter(
    'flovo_cache_moment_checks_total',
    'Responses that were checked for being of one moment, after a write of the last moments',
    ['result'],
  );
  const executedAgain = counter(
    'flovo_cache_executed_again_total',
    'Queries executed again, because their values were of several moments',
    ['how'],
  );

  const executions = counter(
    'flovo_graphql_executions_total',
    'Executions of operations whose document was known, by a plan or by graphql-js',
    ['by'],
  );

  const durations = new Histogram({
    name: 'flovo_http_request_duration_seconds',
    help: 'Time to answer an HTTP request',
    labelNames: ['route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const durationOf = remembered((route, status) => durations.labels({ route, status }));
  const hitOf = remembered((resource) => hits.labels({ resource }));
  const missOf = remembered((resource, reason) => misses.labels({ resource, reason }));
  const executionOf = remembered((by) => executions.labels({ by }));
  const roundTripOf = remembered((operation) => roundTrips.labels({ operation }));

  const observer: CacheObserver = {
    hit: (resource, count = 1) => hitOf(resource).inc(count),
    miss: (resource, reason, count = 1) => missOf(resource, reason).inc(count),
    joined: (resource) => joins.inc({ resource }),
    waited: (resource) => waits.inc({ resource }),
    loaded: (resource, count) => {
      loads.inc({ resource });
      loadedRows.inc({ resource }, count);
    },
    roundTrip: (operation) => roundTripOf(operation).inc(),
    redisFailure: (operation, reason) => failures.inc({ operation, reason }),
    redisState: (state) => {
      up.set(state === 'up' ? 1 : 0);
      changes.inc({ to: state });
    },
    tooLarge: (resource, count) => tooLarge.inc({ resource }, count),
    momentChecked: (isOne) => momentChecks.inc({ result: isOne ? 'one moment' : 'several moments' }),
    executedAgain: (how) => executedAgain.inc({ how }),
  };
  return {
    registry,
    observer,
    statements: new Counter({ name: 'flovo_sql_statements_total', help: 'SQL statements sent', registers }),
    /** Counts an execution of an operation. */
    executed: (by: 'plan' | 'graphql-js') => executionOf(by).inc(),
    /** Records the duration of an answer, in seconds. */
    answered(route: string, status: number, seconds: number) {
      durationOf(route, String(status)).observe(seconds);
    },
    /** Adds a gauge whose value is read when the metrics are read. */
    gauge(name: string, help: string, read: () => number) {
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    },
  };
}

/** Remembers the series of a pair of labels: looking a series up by its labels costs more than counting. */
function remembered<Series>(
  make: (first: string, second: string) => Series,
): (first: string, second?: string) => Series {
  const made = new Map<string, Map<string, Series>>();
  return (first, second = '') => {
    let bySecond = made.get(first);
    if (!bySecond) made.set(first, (bySecond = new Map()));
    let series = bySecond.get(second);
    if (!series) bySecond.set(second, (series = make(first, second)));
    return series;
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
