import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

import type { CacheObserver } from '../cache/observer.js';

/** The server's Prometheus metrics. One registry an application, so that several can live in one process. */
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
  const changes = counter('flovo_redis_state_changes_total', 'How often Redis was lost or found again', [
    'to',
  ]);

  const observer: CacheObserver = {
    hit: (resource) => hits.inc({ resource }),
    miss: (resource, reason) => misses.inc({ resource, reason }),
    joined: (resource) => joins.inc({ resource }),
    waited: (resource) => waits.inc({ resource }),
    loaded: (resource, count) => {
      loads.inc({ resource });
      loadedRows.inc({ resource }, count);
    },
    roundTrip: (operation) => roundTrips.inc({ operation }),
    redisFailure: (operation, reason) => failures.inc({ operation, reason }),
    available: (available) => {
      up.set(available ? 1 : 0);
      changes.inc({ to: available ? 'up' : 'down' });
    },
  };
  return {
    registry,
    observer,
    statements: new Counter({ name: 'flovo_sql_statements_total', help: 'SQL statements sent', registers }),
    requests: new Histogram({
      name: 'flovo_http_request_duration_seconds',
      help: 'Time to answer an HTTP request',
      labelNames: ['route', 'status'],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    /** Adds a gauge that is read when the metrics are. */
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

export type Metrics = ReturnType<typeof createMetrics>;
