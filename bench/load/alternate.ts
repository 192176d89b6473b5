import { percentile } from '../support/numbers.js';
import { Connection, encodeRequest, targetOf } from './connection.js';
import type { AlternateTask, LatencyResult } from './tasks.js';

/** Runs an {@link AlternateTask}. The first fifth of the iterations warms up and is not counted. */
export async function runAlternate(task: AlternateTask): Promise<LatencyResult[]> {
  const warmUp = Math.ceil(task.iterations / 5);
  const targets = await Promise.all(
    task.targets.map(async ({ url, requests }) => {
      const target = targetOf(url);
      const connection = new Connection(target);
      await connection.open();
      return {
        connection,
        requests: requests.map((request) => encodeRequest(target, request)),
        latencies: [] as number[],
        errors: 0,
      };
    }),
  );
  for (let i = 0; i < warmUp + task.iterations; i++) {
    // Alternate the direction, so that no target always follows the same other one.
    for (const target of i % 2 === 0 ? targets : targets.toReversed()) {
      const sentAt = performance.now();
      const { status, hasData } = await target.connection.ask(
        target.requests[i % target.requests.length] as Buffer,
      );
      if (i >= warmUp) target.latencies.push(performance.now() - sentAt);
      if (status !== 200 || !hasData) target.errors++;
    }
  }
  return targets.map(({ connection, latencies, errors }) => {
    connection.close();
    const sorted = latencies.toSorted((a, b) => a - b);
    return { p50Ms: percentile(sorted, 0.5), p99Ms: percentile(sorted, 0.99), errors };
  });
}
