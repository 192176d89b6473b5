import { parseConnectionUrl } from './connection-url.js';
import { drizzleOn, repositoryOn, type Database } from './drizzle-client.js';
import { ConnectionPool, type PoolState } from './pool.js';
import { inSnapshotTransaction } from './snapshot-transaction.js';
import {
  StatementRunner,
  type StatementEndListener,
  type StatementListener,
  type Unserved,
} from './statements.js';

export { repositoryOn };
export type { Database, PoolState, StatementListener, Unserved };

export interface DatabaseConnection {
  readonly db: Database;
  /**
   * Executes all statements of `work`, one after another, in one REPEATABLE READ transaction that only reads, so that
   * they see one moment of the database. It holds one connection of the pool, for at most as long as one statement
   * may run. It is never repeated. Use only the given client in `work`, and not after its end.
   * @throws as statements of `db` do; after a failed statement all later ones fail with the same error
   */
  inOneSnapshot<T>(work: (db: Database) => Promise<T>): Promise<T>;
  /** The connections of the pool at this moment. */
  poolState(): PoolState;
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
  readonly onStatementEnd?: StatementEndListener | undefined;
  /** Called when a statement has got a connection. @param seconds that it waited */
  readonly onConnection?: ((seconds: number) => void) | undefined;
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
    onConnection: options.onConnection,
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
    onStatementEnd: options.onStatementEnd,
    toError: options.toError ?? (({ message, cause }) => new Error(message, { cause })),
  });
  return {
    db: drizzleOn(statements, async (work) => await statements.transaction('', work)),
    inOneSnapshot: async (work) =>
      await inSnapshotTransaction(
        { statements, pool, limits },
        async (executor) => await work(drizzleOn(executor)),
      ),
    poolState: () => pool.state,
    close: async () => await pool.close(CLOSE_TIMEOUT_MS),
  };
}
