import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';

import { openDriver, type Sql } from './driver.js';
import * as tables from './tables.js';

export type Database = PostgresJsDatabase<typeof tables>;

/** Called with each SQL statement that is sent; tests count them. */
export type StatementListener = (statement: string) => void;

export interface DatabaseConnection {
  readonly db: Database;
  readonly sql: Sql;
  /** Waits for running statements, 5 s at most, and disconnects. */
  close(): Promise<void>;
}

const LONGEST_RECONNECT_PAUSE_S = 0.5;

/**
 * How long a connection waits before it is tried again, in seconds. The driver's own pauses grow to 20 s, and queries
 * wait them out long after the database is back.
 */
const reconnectPauseSeconds = (attempt: number): number =>
  Math.min(0.025 * 2 ** Math.min(attempt, 5), LONGEST_RECONNECT_PAUSE_S) * (0.5 + Math.random() / 2);

/** Opens a pool. Connections are made when first needed; a query waits for one at most 5 s. */
export function connectDatabase(options: {
  url: string;
  poolMax: number;
  onStatement?: StatementListener | undefined;
}): DatabaseConnection {
  const { onStatement } = options;
  const sql = openDriver(options.url, {
    max: options.poolMax,
    connect_timeout: 5,
    backoff: reconnectPauseSeconds,
    // Instants are then written as `toIsoInstant` expects them.
    connection: { application_name: 'flovo-bots', TimeZone: 'UTC' },
    ...(onStatement ? { debug: (_: number, statement: string) => onStatement(statement) } : {}),
  });
  return {
    sql,
    db: drizzle(sql, { schema: tables }),
    close: async () => await sql.end({ timeout: 5 }),
  };
}

/** The SQLSTATE of a database error, however deep it is wrapped: `23503` foreign key, `23505` unique, … */
export function sqlState(error: unknown): string | undefined {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const code = (cause as { code?: unknown }).code;
    if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return code;
  }
  return undefined;
}
