import type { IncomingHttpHeaders } from 'node:http';

import type { Span } from '../cache/core/span.js';
import type { Config } from '../config.js';
import type { Logger } from '../logger.js';

/** What is known of a request when it arrives. */
export interface ArrivedRequest {
  readonly id: string;
  readonly method: string;
  /** The URL without its query. */
  readonly path: string;
  /** The pattern of the path; undefined if there is no such route. */
  readonly route: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

/** What is known of a request when it was answered. */
export interface Answer {
  readonly status: number;
  readonly operation:
    { readonly name: string; readonly type: string; readonly isCached: boolean } | undefined;
  /** The codes of the errors in a GraphQL answer. */
  readonly errorCodes: readonly string[];
}

export interface RequestSpan extends Span {
  /** Ends the span. */
  answered(answer: Answer): void;
}

/** Records traces of requests. */
export interface Tracing {
  /** Begins to trace a request; undefined if it is not to be traced. */
  begin(request: ArrivedRequest): RequestSpan | undefined;
  /** Exports what was recorded, for a bounded time. Never fails. */
  close(): Promise<void>;
}

/** Loads OpenTelemetry if tracing is switched on. */
export async function startTracing(config: Config['tracing'], log: Logger): Promise<Tracing | undefined> {
  if (!config) return undefined;
  const { createTracing } = await import('./open-telemetry.js');
  return createTracing(config, log);
}
