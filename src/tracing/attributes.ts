import { SpanKind, type Attributes } from '@opentelemetry/api';

import type { TracedPart } from '../cache/core/span.js';
import { ApiError, ErrorCode } from '../errors.js';
import type { Answer, ArrivedRequest } from './tracing.js';

/** The maximum length of a path, and of a statement, in characters. */
const MAX_PATH_CHARACTERS = 200;
const MAX_STATEMENT_CHARACTERS = 8_192;

/** Codes of errors that are no mistake of the client's. */
const FAILURES: ReadonlySet<string> = new Set([ErrorCode.INTERNAL_SERVER_ERROR, ErrorCode.UNAVAILABLE]);

/** What a span of OpenTelemetry says. The names are those of its semantic conventions, or begin with `flovo.`. */
export interface Described {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes: Attributes;
}

export const describeRequest = ({ id, method, path, route }: ArrivedRequest): Described => ({
  name: route === undefined ? method : `${method} ${route}`,
  kind: SpanKind.SERVER,
  attributes: {
    'http.request.method': method,
    'url.path': path.slice(0, MAX_PATH_CHARACTERS),
    'url.scheme': 'http',
    ...(route === undefined ? {} : { 'http.route': route }),
    'flovo.request_id': id,
  },
});

/** The attributes of an answered request, and the type of its error. A mistake of the client's is no error of the span. */
export function describeAnswer({ status, operation, errorCodes }: Answer): {
  attributes: Attributes;
  errorType: string | undefined;
} {
  const attributes: Attributes = { 'http.response.status_code': status };
  if (operation) {
    attributes['graphql.operation.name'] = operation.name;
    attributes['graphql.operation.type'] = operation.type;
    attributes['flovo.response_cache'] = operation.isCached ? 'hit' : 'miss';
  }
  if (errorCodes.length > 0) attributes['flovo.error_codes'] = [...new Set(errorCodes)];
  const errorType =
    errorCodes.find((code) => FAILURES.has(code)) ?? (status >= 500 ? String(status) : undefined);
  return { attributes, errorType };
}

export function describePart(part: TracedPart): Described {
  switch (part.kind) {
    case 'read':
      return {
        name: `read ${part.resource}`,
        kind: SpanKind.INTERNAL,
        attributes: { 'flovo.resource': part.resource, 'flovo.keys': part.keys },
      };
    case 'redis':
      return {
        name: `redis ${part.operation}`,
        kind: SpanKind.CLIENT,
        attributes: { 'db.system.name': 'redis', 'db.operation.name': part.operation },
      };
    case 'sql': {
      const [operation = ''] = /^\s*\w+/.exec(part.statement) ?? [];
      return {
        name: `sql ${operation.trim().toLowerCase()}`,
        kind: SpanKind.CLIENT,
        attributes: {
          'db.system.name': 'postgresql',
          'db.query.text': part.statement.slice(0, MAX_STATEMENT_CHARACTERS),
        },
      };
    }
  }
}

/** The type of an error: its code, or else its class. Messages may contain values. */
export function errorTypeOf(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  if (error instanceof ApiError) return String(error.extensions.code);
  const { code, cause } = error as { code?: unknown; cause?: unknown };
  if (typeof code === 'string' && /^\w{1,50}$/.test(code)) return code;
  return cause instanceof Error ? errorTypeOf(cause) : error.name;
}
