import { pino, type Logger } from 'pino';

export type { Logger };

/** Structured logs on standard output. Tokens and connection strings never get in: what may hold one is redacted. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['req.headers.authorization', 'headers.authorization', 'authorization', 'token'],
  });
}
