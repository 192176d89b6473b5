import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';

import type { Sql } from './driver.js';
import { endpointKind, rememberEndpointKind } from './endpoint-kind.js';
import { StatementError, transientFailure, type TransientFailure } from './failures.js';
import type { ConnectionPool, Lease } from './pool.js';

/** Called with each SQL statement that is sent; tests count them. */
export type StatementListener = (statement: string) => void;

/** A statement that the database could not complete, for a temporary reason. */
export interface Unserved {
  /** For the client: the failure, and the next step. */
  readonly message: string;
  /** Whether the change may have been made nevertheless. */
  readonly isOutcomeUnknown: boolean;
  readonly cause: unknown;
}

/** How often a failed statement is tried again, and the maximum pause before that (ms). */
const MAX_RETRIES = 3;
const MAX_RETRY_PAUSE_MS = 100;
/** How long after its own time limit PostgreSQL is asked to cancel, and the connection is dropped (ms). */
const CANCEL_AFTER_MS = 250;
const GIVE_UP_AFTER_MS = 1_000;

const OUTCOME_UNKNOWN =
  'The database did not confirm the change, which may have been made; look before you try again';

export interface StatementRunnerOptions {
  readonly url: string;
  readonly pool: ConnectionPool;
  readonly statementTimeoutMs: number;
  readonly onStatement: StatementListener | undefined;
  /** Makes the error for callers. */
  readonly toError: (unserved: Unserved) => Error;
}

/** The part of the driver that Drizzle's prepared queries use. */
export type StatementClient = Pick<Sql, 'unsafe'>;

/**
 * Executes single statements with a limit on every wait, each on a connection of its own. A statement is tried again
 * after a temporary failure if the database has changed nothing. A statement that only reads is also repeated after a
 * lost connection.
 */
export class StatementRunner {
  constructor(private readonly options: StatementRunnerOptions) {}

  /** @throws the error made by `toError` for temporary failures; any other error unchanged */
  async run<T>(isRead: boolean, work: (client: StatementClient) => Promise<T>): Promise<T> {
    return await this.attempt(isRead, MAX_RETRIES, async (lease, track) => {
      const { unsafe } = lease.entry.driver;
      return await work({
        unsafe: ((text: string, ...rest: [never, never]) => {
          this.options.onStatement?.(text);
          return track(unsafe(text, ...rest));
        }) as Sql['unsafe'],
      });
    });
  }

  /**
   * Executes a transaction within the time limit of one statement. It is never repeated, because only the caller
   * could decide that.
   */
  async transaction<T>(options: string, work: (sql: postgres.TransactionSql) => Promise<T>): Promise<T> {
    return (await this.attempt(false, 0, async ({ entry }) => await entry.driver.begin(options, work))) as T;
  }

  private async attempt<T>(isRead: boolean, retries: number, work: Work<T>): Promise<T> {
    for (let left = retries; ; left--) {
      try {
        return await this.once(isRead, work);
      } catch (error) {
        const failure = transientFailure(error);
        if (!failure) throw error;
        if (failure.showsPooler) rememberEndpointKind(this.options.url, 'pooled');
        const isSafe = isRead || failure.nothingDone;
        if (left === 0 || !isSafe || !failure.retryAtOnce) throw this.unserved(failure, isSafe, error);
        await sleep(Math.random() * MAX_RETRY_PAUSE_MS);
      }
    }
  }

  private unserved({ message }: TransientFailure, isSafe: boolean, cause: unknown): Error {
    return this.options.toError({
      message: isSafe ? message : OUTCOME_UNKNOWN,
      isOutcomeUnknown: !isSafe,
      cause,
    });
  }

  private async once<T>(isRead: boolean, work: Work<T>): Promise<T> {
    const { pool } = this.options;
    const lease = await pool.acquire(isRead);
    try {
      const result = await this.withinLimit(lease, work);
      pool.release(lease);
      return result;
    } catch (error) {
      const failure = transientFailure(error);
      if (failure && !failure.keepsConnection) pool.discard(lease);
      else pool.release(lease);
      throw error;
    }
  }

  /**
   * PostgreSQL ends statements by itself if its sessions have our settings. Behind a pooler the statement is
   * cancelled from here. A connection that gives no reply even then is dead, and the others of its age may be dead,
   * too.
   */
  private async withinLimit<T>(lease: Lease, work: Work<T>): Promise<T> {
    const { pool, statementTimeoutMs, url } = this.options;
    const cancelAfterMs = statementTimeoutMs + (endpointKind(url) === 'direct' ? CANCEL_AFTER_MS : 0);
    let running: { cancel(): void } | undefined;
    const timers: NodeJS.Timeout[] = [];
    try {
      return await new Promise<T>((resolve, reject) => {
        timers.push(
          setTimeout(() => running?.cancel(), cancelAfterMs),
          setTimeout(() => {
            pool.discardIdle();
            const message = `The database gave no answer within ${statementTimeoutMs} ms`;
            reject(new StatementError('NO_ANSWER', message));
          }, statementTimeoutMs + GIVE_UP_AFTER_MS),
        );
        work(lease, (query) => (running = query)).then(resolve, reject);
      });
    } finally {
      timers.forEach(clearTimeout);
    }
  }
}

/** Work on one connection. Tracked queries can be cancelled. */
type Work<T> = (lease: Lease, track: <Query extends { cancel(): void }>(query: Query) => Query) => Promise<T>;
