import type { GraphQLRequest } from '../support/client.js';

/** The tasks of the load generator, and their results. */
export interface Tasks {
  load: { readonly task: LoadTask; readonly result: LoadResult };
  paced: { readonly task: PacedTask; readonly result: LoadResult };
  burst: { readonly task: BurstTask; readonly result: LoadResult };
  alternate: { readonly task: AlternateTask; readonly result: readonly LatencyResult[] };
  stale: { readonly task: StaleTask; readonly result: StaleResult };
}

/** Every connection sends its next request as soon as the last is answered. */
export interface LoadTask {
  readonly url: string;
  readonly connections: number;
  readonly requests: readonly GraphQLRequest[];
  /** `random`: any of them, until the time is up. `once`: each of them once, however long it takes. */
  readonly order: 'random' | 'once';
  readonly seed: number;
  readonly durationMs: number;
  /** Requests that replace this share of the others: mutations among reads. */
  readonly among?: { readonly requests: readonly GraphQLRequest[]; readonly part: number };
}

/** Sends requests at a fixed rate, whether they are answered or not. */
export interface PacedTask {
  readonly url: string;
  readonly requests: readonly GraphQLRequest[];
  readonly perSecond: number;
  readonly durationMs: number;
}

/** Sends the same request over many connections at the same instant. */
export interface BurstTask {
  readonly urls: readonly string[];
  readonly connectionsOfEach: number;
  readonly request: GraphQLRequest;
}

/** Sends one request at a time to each target in turn, so that all are measured under the same conditions. */
export interface AlternateTask {
  readonly targets: readonly { readonly url: string; readonly requests: readonly GraphQLRequest[] }[];
  readonly iterations: number;
}

/** Writes and reads the same bots through several processes, and looks for reads older than an answered write. */
export interface StaleTask {
  /** The processes; writes go to the first, reads to all. */
  readonly urls: readonly string[];
  readonly token: string;
  readonly orgId: string;
  readonly botIds: readonly string[];
  readonly readers: number;
  readonly durationMs: number;
}

/** The results of requests under load. */
export interface LoadResult {
  readonly requests: number;
  readonly errors: number;
  /** The first answer without data. */
  readonly firstError: string | undefined;
  readonly elapsedMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The latencies of one target, one request at a time. */
export interface LatencyResult {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
}

/** The results of reads during writes. */
export interface StaleResult {
  readonly writes: number;
  readonly reads: number;
  readonly staleReads: number;
  /** The longest staleness of a read: ms since the answer to a write that it does not show. */
  readonly longestMs: number;
  readonly errors: number;
}
