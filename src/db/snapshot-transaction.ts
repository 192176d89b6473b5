import { getTableName } from 'drizzle-orm';

import type { Demand } from '../cache/core/demand.js';
import { currentWork, within } from '../cache/core/work.js';
import { StatementError } from './failures.js';
import type { ConnectionPool, Lease } from './pool.js';
import type { StatementClient, StatementExecutor, StatementRunner } from './statements.js';
import { TABLES_TO_READ } from './tables.js';

interface SnapshotOptions {
  readonly statements: StatementRunner;
  readonly pool: ConnectionPool;
  /** How long a statement runs and waits for a lock (ms). The whole transaction may take as long as one statement. */
  readonly limits: { readonly statementTimeoutMs: number; readonly lockTimeoutMs: number };
}

/**
 * Executes the statements of `work` in one REPEATABLE READ transaction that only reads, within the time limit of one
 * statement, and as long as somebody waits for the result. Afterwards the connection is returned or closed, whatever `work` does.
 */
export async function inSnapshotTransaction<T>(
  { statements, pool, limits }: SnapshotOptions,
  work: (executor: StatementExecutor) => Promise<T>,
): Promise<T> {
  const forWhom = currentWork();
  const lease = await statements.begin(beginStatement(limits));
  const transaction = new SnapshotTransaction(statements, pool, lease);
  try {
    return await transaction.withinLimits(limits.statementTimeoutMs, forWhom?.demand, async (executor) => {
      await within(forWhom, () => executor.run(false, async ({ unsafe }) => await unsafe(LOCK_TABLES)));
      return await work(executor);
    });
  } finally {
    // The caller does not wait: it has what it wanted, and this cannot fail.
    void within(forWhom, () => transaction.end());
  }
}

/**
 * A pooler does not keep settings of sessions, and a process that is frozen or cut off cannot end its transaction. So
 * the limits are those of the transaction itself.
 */
const beginStatement = ({ statementTimeoutMs, lockTimeoutMs }: SnapshotOptions['limits']): string =>
  [
    'begin isolation level repeatable read, read only',
    `set local statement_timeout = ${statementTimeoutMs}`,
    `set local lock_timeout = ${lockTimeoutMs}`,
    `set local idle_in_transaction_session_timeout = ${statementTimeoutMs}`,
  ].join('; ');

/**
 * A table that is truncated after the snapshot was taken looks empty in it, because TRUNCATE keeps no rows for older
 * snapshots. So the tables are locked first, which takes no snapshot: a TRUNCATE waits, or is waited for.
 */
const LOCK_TABLES = `lock table ${TABLES_TO_READ.map((table) => `"${getTableName(table)}"`).join(', ')} in access share mode`;

class SnapshotTransaction implements StatementExecutor {
  /** Settles when the statement that was given last has ended. */
  private last: Promise<unknown> = Promise.resolve();
  private isBusy = false;
  /** Cancels the running statement. */
  private cancelRunning: (() => void) | undefined;
  /** Why no further statement is executed. PostgreSQL executes none after one that failed, either. */
  private refusal: { readonly error: unknown } | undefined;

  constructor(
    private readonly statements: StatementRunner,
    private readonly pool: ConnectionPool,
    private readonly lease: Lease,
  ) {}

  async run<T>(_isRead: boolean, work: (client: StatementClient) => Promise<T>): Promise<T> {
    const forWhom = currentWork();
    const result = this.last.then(async () => await within(forWhom, () => this.runNext(work)));
    this.last = result.catch(() => undefined);
    return await result;
  }

  /** Does `work` within a time (ms), and as long as somebody waits for it. */
  async withinLimits<T>(
    limitMs: number,
    demand: Demand | undefined,
    work: (executor: StatementExecutor) => Promise<T>,
  ): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    let takeBack: (() => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        timer = setTimeout(() => {
          const message = `The work in one snapshot did not end within ${limitMs} ms`;
          const error = new StatementError('SNAPSHOT_TIMEOUT', message);
          reject(this.refuse(error));
        }, limitMs);
        takeBack = demand?.onEnd((reason) => reject(this.refuse(reason)));
        work(this).then(resolve, reject);
      });
    } finally {
      takeBack?.();
      clearTimeout(timer);
    }
  }

  /** Ends the transaction, and returns the connection. Never fails. */
  async end(): Promise<void> {
    const { lease, pool } = this;
    this.refuse(new Error('The work in one snapshot has ended'));
    if (this.isBusy || !pool.isOpen(lease)) {
      // A connection with a statement under way would keep the next user waiting, and a late cancellation would hit it.
      this.cancelRunning?.();
      pool.discard(lease);
      return;
    }
    try {
      await this.statements.runOn(lease, async ({ unsafe }) => await unsafe('commit'));
      pool.release(lease);
    } catch {
      // The transaction has changed nothing, and what it read is complete without this.
      pool.discard(lease);
    }
  }

  private async runNext<T>(work: (client: StatementClient) => Promise<T>): Promise<T> {
    if (this.refusal) throw this.refusal.error;
    this.isBusy = true;
    try {
      // The driver is ended soon after its connection was lost. Until then it would open another, outside of the
      // transaction.
      if (!this.pool.isOpen(this.lease)) throw new StatementError('NOT_CONNECTED', 'The connection was lost');
      return await this.statements.runOn(this.lease, work, (cancel) => (this.cancelRunning = cancel));
    } catch (error) {
      throw this.refuse(error);
    } finally {
      this.isBusy = false;
      this.cancelRunning = undefined;
    }
  }

  /** Refuses all further statements because of the first failure, and returns the error of that. */
  private refuse(failure: unknown): unknown {
    this.refusal ??= { error: this.statements.errorOfRead(failure) };
    return this.refusal.error;
  }
}
