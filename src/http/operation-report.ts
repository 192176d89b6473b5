import type { FastifyRequest } from 'fastify';
import { OperationTypeNode } from 'graphql';

import type { OperationContext } from '../graphql/operation-context.js';
import type { Logger } from '../logger.js';
import type { Metrics } from '../metrics/metrics.js';

/** The maximum length of a name in the log, in characters. */
const MAX_CHARACTERS = 100;

/** An operation, as metrics and logs call it. */
export interface NamedOperation {
  /** The name for metrics: one of few. */
  readonly label: string;
  /** The name for logs. */
  readonly name: string;
  readonly type: OperationTypeNode;
}

export interface AnsweredOperation extends NamedOperation {
  /** Whether the response cache answered it. */
  readonly isCached: boolean;
}

export interface OperationReportOptions {
  readonly metrics: Pick<Metrics, 'graphql' | 'operationNames'>;
  readonly log: Logger;
  /** Operations that take at least this long (ms) are logged; 0: none is. */
  readonly slowOperationMs: number;
}

/** Reports answered GraphQL operations to the metrics and the log. */
export class OperationReport {
  constructor(private readonly options: OperationReportOptions) {}

  /** Names the operation of a request; undefined if the request has no valid one. */
  nameOf({ found, authorization }: OperationContext): NamedOperation | undefined {
    const { operation } = found;
    if (!operation) return undefined;
    const { operationNames } = this.options.metrics;
    const name = operation.name?.value;
    const label = operationNames.labelOf(name, authorization.isAuthenticated);
    return { label, name: name?.slice(0, MAX_CHARACTERS) ?? label, type: operation.operation };
  }

  /** @param label of the operation, which the response cache keeps */
  fromCache(request: FastifyRequest, label: string, startedAt: number): void {
    this.answered(request, { label, name: label, type: OperationTypeNode.QUERY, isCached: true }, startedAt);
  }

  executed(
    request: FastifyRequest,
    operation: NamedOperation | undefined,
    errorCodes: readonly string[],
    startedAt: number,
  ): void {
    for (const code of errorCodes) this.options.metrics.graphql.errorAnswered(code);
    if (errorCodes.length > 0) request.errorCodes = errorCodes;
    if (operation) this.answered(request, { ...operation, isCached: false }, startedAt);
  }

  private answered(request: FastifyRequest, operation: AnsweredOperation, startedAt: number): void {
    const { metrics, log, slowOperationMs } = this.options;
    const { label, name, type, isCached } = operation;
    const ms = performance.now() - startedAt;
    request.operation = operation;
    metrics.graphql.operationAnswered(label, type, ms / 1_000);
    if (slowOperationMs === 0 || ms < slowOperationMs) return;
    log.warn(
      {
        requestId: request.id,
        operation: name,
        type,
        durationMs: Math.round(ms),
        responseCache: isCached ? 'hit' : 'miss',
      },
      'Slow operation',
    );
  }
}
