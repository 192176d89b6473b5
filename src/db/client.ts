import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';

import { parseConnectionUrl } from './connection-url.js';
import type { Sql } from './driver.js';
import { ConnectionPool } from './pool.js';
import {
  StatementRunner,
  type StatementClient,
  type StatementListener,
  type Unserved,
} from './statements.js';
import * as tables from './tables.js';

export type { StatementListener, Unserved };

export type Database = PostgresJsDatabase<typeof tables>;

export interface DatabaseConnection {
  readonly db: Database;
  inOneSnapshot<T>(work: (db: Database) => Promise<T>): Promise<T>;
  /** Waits for running statements for at most 5 s, and disconnects. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** How long a statement waits for a connection, runs, and waits for a lock (ms). */
  readonly poolTimeoutMs?: number;
  readonly statementTimeoutMs?: number;
  readonly lockTimeoutMs?: number;
  readonly onStatement?: StatementListener | undefined;
  /** Makes the error for a statement that failed for a temporary reason. */
  readonly toError?: (unserved: Unserved) => Error;
}

const DEFAULT_LIMITS = { poolTimeoutMs: 5_000, statementTimeoutMs: 10_000, lockTimeoutMs: 5_000 };
const OPEN_TIMEOUT_MS = 6_000;
const CLOSE_TIMEOUT_MS = 5_000;

/** Opens a pool, which connects when it is first needed. Every wait has a limit, see {@link DatabaseOptions}. */
export function connectDatabase(options: DatabaseOptions): DatabaseConnection {
  const { url } = options;
  const limits = { ...DEFAULT_LIMITS, ...options };
  const pool = new ConnectionPool({
    url,
    max: parseConnectionUrl(url).connectionLimit ?? options.poolMax,
    waitMs: limits.poolTimeoutMs,
    openMs: OPEN_TIMEOUT_MS,
    sessionSettings: {
      statement_timeout: String(limits.statementTimeoutMs),
      lock_timeout: String(limits.lockTimeoutMs),
    },
  });
  const statements = new StatementRunner({
    url,
    pool,
    statementTimeoutMs: limits.statementTimeoutMs,
    onStatement: options.onStatement,
    toError: options.toError ?? (({ message, cause }) => new Error(message, { cause })),
  });
  const db = drizzleOn(statements);
  return { db, inOneSnapshot: async (work) => await work(db), close: async () => await pool.close(CLOSE_TIMEOUT_MS) };
}

/** Drizzle's form of a prepared statement. */
interface PreparedQuery {
  execute(values?: Record<string, unknown>): Promise<unknown>;
  getQuery(): { readonly sql: string };
}

interface Session {
  prepareQuery(...description: unknown[]): PreparedQuery;
}

/**
 * A Drizzle client that sends all statements through the runner. Each execution uses the connection that the runner
 * chose; Drizzle only writes the SQL and reads the rows.
 */
function drizzleOn(statements: StatementRunner): Database {
  const client = {
    options: { parsers: {}, serializers: {} },
    begin: statements.transaction.bind(statements, ''),
  };
  const db = drizzle(client as unknown as Sql, { schema: tables });
  const session = db._.session as unknown as Session;
  const prepareQuery = session.prepareQuery.bind(session);
  session.prepareQuery = (...description) => {
    const prepared = prepareQuery(...description);
    const { execute } = prepared;
    const isRead = /^\s*select\b/i.test(prepared.getQuery().sql);
    const on = (client: StatementClient): unknown => Object.assign(Object.create(prepared), { client });
    prepared.execute = async (values) =>
      await statements.run(isRead, async (client) => await execute.call(on(client), values));
    return prepared;
  };
  return db;
}
