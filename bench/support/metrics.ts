import type { Counters } from '../servers/report.js';

/** What our server has counted, as its `/metrics` tell it. */
export function countersIn(metrics: string): Counters {
  const total = (name: RegExp): number =>
    metrics
      .split('\n')
      .filter((line) => name.test(line))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  return {
    statements: total(/^flovo_sql_statements_total\b/),
    hits: total(/^flovo_cache_hits_total\b/),
    // What is not answered whole is looked up value by value: only those can be missing.
    misses: total(/^flovo_cache_misses_total\b(?!.*resource="response")/),
  };
}
