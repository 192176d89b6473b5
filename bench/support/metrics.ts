import type { Counters } from '../servers/report.js';

/** The counts of our server, from its `/metrics`. */
export function countersIn(metrics: string): Counters {
  const total = (name: RegExp): number =>
    metrics
      .split('\n')
      .filter((line) => name.test(line))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  return {
    statements: total(/^flovo_sql_statements_total\b/),
    hits: total(/^flovo_cache_hits_total\b/),
    // Only requests without a cached response look up values, so misses of responses do not count.
    misses: total(/^flovo_cache_misses_total\b(?!.*resource="response")/),
  };
}
