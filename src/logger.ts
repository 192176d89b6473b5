import { pino, type Logger } from 'pino';

export type { Logger };

/**
 * Structured logs on standard output. They never contain tokens or connection strings: fields that may contain one
 * are redacted. They also leave out the values of a failed SQL statement, which may be people's messages.
 */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['req.headers.authorization', 'headers.authorization', 'authorization', 'token'],
    serializers: { err: describeError },
  });
}

interface LoggedError {
  readonly type?: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** An error and its causes, without the properties that libraries add: details and parameters of statements. */
function describeError(error: unknown): LoggedError {
  if (!(error instanceof Error)) return { message: String(error) };
  const { code, query } = error as { code?: unknown; query?: unknown };
  // Drizzle writes the values into the message, and so into the stack.
  const isFailedQuery = 'params' in error && typeof query === 'string';
  const message = isFailedQuery ? `Failed query: ${query}` : error.message;
  return {
    type: error.constructor.name,
    message,
    ...(typeof code === 'string' ? { code } : {}),
    ...(error.stack === undefined ? {} : { stack: error.stack.replace(error.message, () => message) }),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  };
}
