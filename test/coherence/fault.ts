import type { Findings, Tolerance } from './findings.js';
import type { RedisHost } from './redis-host.js';
import type { Span } from './span.js';
import { verifyStoredValues } from './stored-values.js';
import type { RedisSide } from './redis-side.js';
import type { CoherenceRun, CoherenceRunOptions } from './coherence-run.js';
import type { Load } from './workload.js';

/** A fault to inject while clients use the servers. */
export interface Fault<Side extends RedisSide = RedisHost> {
  readonly name: string;
  /** A short description for the report. */
  readonly about: string;
  readonly tolerance: Tolerance;
  /** Options of its run that differ from the defaults. */
  readonly options?: Omit<CoherenceRunOptions<Side>, 'redis'>;
  /** Injects the fault repeatedly until the span ends, then restores the system. */
  act(run: CoherenceRun<Side>, span: Span): Promise<void>;
}

/** The result of one run: a row of the report. */
export interface Outcome {
  readonly name: string;
  readonly findings: Findings;
  readonly seconds: number;
  /** Share of the values read that came from Redis, without the counts of servers that were killed. */
  readonly hitRate: number;
  /** Share of the requests that were answered with a cached response. */
  readonly cachedResponses: number;
}

/**
 * Runs clients while a fault is injected, and checks everything they read.
 * @param minObservations the run continues after the span until there are this many
 */
export async function perform<Side extends RedisSide>(
  fault: Fault<Side>,
  run: CoherenceRun<Side>,
  span: Span,
  load: Load,
  minObservations = 0,
): Promise<Outcome> {
  const startedAt = performance.now();
  const before = await run.fleet.cacheReads();
  const findings = run.history.startFindings(fault.tolerance);
  run.workload.start(load);
  const stopWatching = run.watchTruth();
  try {
    await fault.act(run, span);
    while (findings.observations < minObservations && !span.signal.aborted) await span.pause(100);
  } finally {
    await stopWatching();
    await run.workload.stop();
  }
  const after = await run.fleet.cacheReads();
  return {
    name: fault.name,
    findings,
    seconds: (performance.now() - startedAt) / 1_000,
    hitRate: share(after.hits - before.hits, after.misses - before.misses),
    cachedResponses: share(
      after.responseHits - before.responseHits,
      after.responseMisses - before.responseMisses,
    ),
  };
}

/** A share of two counts; a restarted server counts from zero, so a difference can be negative. */
const share = (part: number, rest: number): number =>
  Math.max(0, part) / Math.max(1, Math.max(0, part) + Math.max(0, rest));

/** After the last fault: waits as long as a read may be stale, then checks that every server shows the database's state. */
export async function checkConvergence(
  run: CoherenceRun<RedisSide>,
  tolerance: Tolerance,
  span: Span,
): Promise<Findings> {
  const findings = run.history.startFindings(tolerance);
  await run.readTruth();
  await span.pause(tolerance.committedMs + 1);
  await run.workload.readAll();
  if (run.fleet.usesRedis) await verifyStoredValues(run);
  return findings;
}
