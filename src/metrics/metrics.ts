import { collectDefaultMetrics } from 'prom-client';

import { buildInfo } from './build-info.js';
import { cacheMetrics, shadowMetrics } from './cache-metrics.js';
import { databaseMetrics } from './database-metrics.js';
import { Families, remembered, type LabelledValues } from './families.js';
import { graphqlMetrics } from './graphql-metrics.js';
import { OperationNames } from './operation-names.js';
import { overloadMetrics } from './overload-metrics.js';

/**
 * The server's Prometheus metrics. Each application has its own registry, so that one process can run several. The default
 * metrics of prom-client are among them, such as the delay of the event loop (`nodejs_eventloop_lag_seconds`).
 */
export function createMetrics() {
  const families = new Families();
  collectDefaultMetrics({ register: families.registry });
  buildInfo(families);
  const durations = families.latency(
    'flovo_http_request_duration_seconds',
    'Time to answer an HTTP request',
    ['route', 'status'],
  );
  const durationOf = remembered((route, status) => durations.labels({ route, status }));
  const warmedValues = families.counter(
    'flovo_cache_warmed_values_total',
    'Values that were loaded at the start, before they were asked for',
  );
  const reads = families.latency(
    'flovo_cache_read_duration_seconds',
    'Time to read values of a resource together, from Redis or PostgreSQL',
    ['resource'],
  );
  const readOf = remembered((resource) => reads.labels({ resource }));
  return {
    registry: families.registry,
    observer: cacheMetrics(families),
    shadow: shadowMetrics(families),
    database: databaseMetrics(families),
    graphql: graphqlMetrics(families),
    overload: overloadMetrics(families),
    operationNames: new OperationNames(),
    /** Records the duration of an answer, in seconds. */
    answered(route: string, status: number, seconds: number) {
      durationOf(route, String(status)).observe(seconds);
    },
    warmed: (count: number) => warmedValues.inc(count),
    /** Adds a gauge with labels, whose series are read when the metrics are read. */
    gauges(name: string, help: string, labelNames: readonly string[], read: LabelledValues) {
      families.readGauges(name, help, labelNames, read);
    },
    /** Records the duration of a read of a cached resource, in seconds. */
    resourceRead: (resource: string, seconds: number) => readOf(resource).observe(seconds),
    /** Adds a gauge whose value is read when the metrics are read. */
    gauge(name: string, help: string, read: () => number) {
      families.readGauge(name, help, read);
    },
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
