import type { Findings, Tolerance } from './findings.js';
import type { RedisHost } from './redis-host.js';
import type { Span } from './span.js';
import type { RedisSide } from './redis-side.js';
import type { Stage, StageOptions } from './stage.js';
import type { Load } from './workload.js';

/** Something that goes wrong while a system is used. */
export interface Fault<Side extends RedisSide = RedisHost> {
  readonly name: string;
  /** What is done, in a few words, for the report. */
  readonly about: string;
  readonly tolerance: Tolerance;
  /** What it needs of the stage beside the usual. */
  readonly stage?: Omit<StageOptions<Side>, 'redis'>;
  /** Does it, again and again until the span is over, and leaves the system whole. */
  act(stage: Stage<Side>, span: Span): Promise<void>;
}

/** The row of the report that a run ends in. */
export interface Outcome {
  readonly name: string;
  readonly findings: Findings;
  readonly seconds: number;
  /** Share of the values read that came from Redis. (What a killed server had counted is lost.) */
  readonly hitRate: number;
  /** Share of the requests that were answered with a cached response, after Redis had vouched for all of it. */
  readonly keptAnswers: number;
}

/** Lets clients use the system while a fault is at work, and checks all that they see. */
export async function perform<Side extends RedisSide>(
  fault: Fault<Side>,
  stage: Stage<Side>,
  span: Span,
  load: Load,
  leastObservations = 0,
): Promise<Outcome> {
  const startedAt = performance.now();
  const before = await stage.fleet.cacheReads();
  const findings = stage.history.beginChapter(fault.tolerance);
  stage.workload.start(load);
  const stopWatching = stage.watchTruth();
  try {
    await fault.act(stage, span);
    while (findings.observations < leastObservations && !span.signal.aborted) await span.pause(100);
  } finally {
    await stopWatching();
    await stage.workload.stop();
  }
  const after = await stage.fleet.cacheReads();
  return {
    name: fault.name,
    findings,
    seconds: (performance.now() - startedAt) / 1_000,
    hitRate: share(after.hits - before.hits, after.misses - before.misses),
    keptAnswers: share(after.answers - before.answers, after.otherRequests - before.otherRequests),
  };
}

/** Counts of a server that was killed can be less than before. */
const share = (part: number, rest: number): number =>
  Math.max(0, part) / Math.max(1, Math.max(0, part) + Math.max(0, rest));

/** After the last fault: when the time that staleness may last is over, everybody must see what the database holds. */
export async function checkConvergence(
  stage: Stage<RedisSide>,
  tolerance: Tolerance,
  span: Span,
): Promise<Findings> {
  const findings = stage.history.beginChapter(tolerance);
  await stage.readTruth();
  await span.pause(tolerance.committedMs + 1);
  await stage.workload.readAll();
  return findings;
}
