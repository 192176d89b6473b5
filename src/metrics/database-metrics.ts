import type { PoolState } from '../db/client.js';
import type { Families } from './families.js';

/** Metrics of SQL statements and of the pool of their connections. */
export function databaseMetrics(families: Families) {
  const statements = families.counter('flovo_sql_statements_total', 'SQL statements sent');
  const durations = families.latency(
    'flovo_sql_statement_duration_seconds',
    'Time of an SQL statement, without the wait for a connection, failed ones included',
  );
  const waits = families.latency(
    'flovo_sql_pool_wait_duration_seconds',
    'Time that a statement waited for a connection',
  );
  return {
    statementSent: () => statements.inc(),
    statementEnded: (seconds: number) => durations.observe(seconds),
    connectionAcquired: (seconds: number) => waits.observe(seconds),
    /** Adds the gauges of a pool, which are read when the metrics are read. */
    watchPool(state: () => PoolState): void {
      families.readGauge(
        'flovo_sql_pool_max_connections',
        'The maximum number of connections in the pool',
        () => state().max,
      );
      families.readGauge(
        'flovo_sql_pool_connections_in_use',
        'Connections that execute a statement or a transaction',
        () => state().inUse,
      );
      families.readGauge(
        'flovo_sql_pool_connections_idle',
        'Open connections without work',
        () => state().idle,
      );
      families.readGauge(
        'flovo_sql_pool_waiting',
        'Statements that wait for a connection',
        () => state().waiting,
      );
    },
  };
}
