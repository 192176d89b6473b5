import { setTimeout as sleep } from 'node:timers/promises';
import type postgres from 'postgres';

import type { Demand } from '../cache/core/demand.js';
import type { Span } from '../cache/core/span.js';
import { currentWork, type Work } from '../cache/core/work.js';
import type { Sql } from './driver.js';
import { endpointKind, rememberEndpointKind } from './endpoint-kind.js';
import { isCanceled, StatementError, transientFailure, type TransientFailure } from './failures.js';
import type { ConnectionPool, Lease } from './pool.js';

/** Called with each SQL statement that is sent; tests count them. */
export type StatementListener = (statement: string) => void;

/** Called when a statement has been answered or has failed. @param seconds since it was sent */
export type StatementEndListener = (statement: string, seconds: number) => void;

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
  readonly onStatementEnd: StatementEndListener | undefined;
  /** Makes the error for callers. */
  readonly toError: (unserved: Unserved) => Error;
}

/** The part of the driver that Drizzle's prepared queries use. */
export type StatementClient = Pick<Sql, 'unsafe'>;

/** Executes single statements. */
export interface StatementExecutor {
  /**
   * @throws the error made by `toError` for temporary failures; any other error unchanged; the reason why nobody waits
   * any more
   */
  run<T>(isRead: boolean, work: (client: StatementClient) => Promise<T>): Promise<T>;
}

/**
 * Executes single statements with a limit on every wait, each on a connection of its own. A statement is tried again
 * after a temporary failure if the database has changed nothing. A statement that only reads is also repeated after a
 * lost connection. If nobody waits for the result any more, a statement is not begun, and one that only reads is ended.
 */
export class StatementRunner implements StatementExecutor {
  constructor(private readonly options: StatementRunnerOptions) {}

  async run<T>(isRead: boolean, work: (client: StatementClient) => Promise<T>): Promise<T> {
    const counted = this.counted(work);
    const forWhom = currentWork();
    return await this.attempt(isRead, MAX_RETRIES, async () => await this.once(isRead, counted, forWhom));
  }

  /**
   * Executes a transaction within the time limit of one statement. It is never repeated, because only the caller
   * could decide that.
   */
  async transaction<T>(options: string, work: (sql: postgres.TransactionSql) => Promise<T>): Promise<T> {
    const begin: OnConnection<unknown> = async ({ entry }) => await entry.driver.begin(options, work);
    const forWhom = currentWork();
    return (await this.attempt(false, 0, async () => await this.once(false, begin, forWhom))) as T;
  }

  /**
   * Takes a connection and begins a transaction on it that only reads. The caller returns the connection.
   */
  async begin(statement: string): Promise<Lease> {
    const begin = this.counted(async ({ unsafe }) => await unsafe(statement));
    // Not as a read: the connection is held for longer than a statement, and some are reserved for single reads.
    const forWhom = currentWork();
    return await this.attempt(
      true,
      MAX_RETRIES,
      async () => (await this.holding(false, begin, forWhom)).lease,
    );
  }

  /**
   * Executes one statement on a connection that the caller holds, within the limit.
   * @param onSent gets the function that asks PostgreSQL to cancel it
   */
  async runOn<T>(
    lease: Lease,
    work: (client: StatementClient) => Promise<T>,
    onSent?: (cancel: () => void) => void,
  ): Promise<T> {
    return await this.withinLimit(lease, this.counted(work, onSent));
  }

  /** The error for callers of statements that only read. An error that is not temporary remains the same. */
  errorOfRead(error: unknown): unknown {
    const failure = transientFailure(error);
    if (!failure) return error;
    if (failure.showsPooler) rememberEndpointKind(this.options.url, 'pooled');
    return this.unserved(failure, true, error);
  }

  private counted<T>(
    work: (client: StatementClient) => Promise<T>,
    onSent?: (cancel: () => void) => void,
  ): OnConnection<T> {
    const parent = currentWork()?.span;
    return async ({ entry }, track) => {
      let statement = '';
      let sentAt = 0;
      let span: Span | undefined;
      let failure: unknown;
      const unsafe = ((text: string, ...rest: [never, never]) => {
        this.options.onStatement?.(text);
        statement = text;
        sentAt = performance.now();
        span = parent?.begin({ kind: 'sql', statement: text });
        const query = track(entry.driver.unsafe(text, ...rest));
        onSent?.(() => query.cancel());
        return query;
      }) as Sql['unsafe'];
      try {
        return await work({ unsafe });
      } catch (error) {
        throw (failure = error);
      } finally {
        span?.end(failure);
        if (sentAt > 0) this.options.onStatementEnd?.(statement, (performance.now() - sentAt) / 1_000);
      }
    };
  }

  private async attempt<T>(isRead: boolean, retries: number, once: () => Promise<T>): Promise<T> {
    for (let left = retries; ; left--) {
      try {
        return await once();
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

  private async once<T>(isRead: boolean, work: OnConnection<T>, forWhom: Work | undefined): Promise<T> {
    const { lease, result } = await this.holding(isRead, work, forWhom);
    this.options.pool.release(lease);
    return result;
  }

  /** Executes work on a connection, and returns the connection only if the work fails. */
  private async holding<T>(
    isRead: boolean,
    work: OnConnection<T>,
    forWhom: Work | undefined,
  ): Promise<{ lease: Lease; result: T }> {
    const { pool } = this.options;
    const lease = await pool.acquire(isRead, forWhom);
    const demand = isRead ? forWhom?.demand : undefined;
    try {
      const result = await this.withinLimit(lease, work, demand);
      if (demand?.end) throw demand.end;
      return { lease, result };
    } catch (error) {
      const keepsConnection = transientFailure(error)?.keepsConnection ?? true;
      // A cancellation that came too late would end the next statement on this connection.
      if (demand?.end ? isCanceled(error) : keepsConnection) pool.release(lease);
      else pool.discard(lease);
      throw demand?.end ?? error;
    }
  }

  /**
   * PostgreSQL ends statements by itself if its sessions have our settings. Behind a pooler the statement is
   * cancelled from here. A connection that gives no reply even then is dead, and the others of its age may be dead,
   * too.
   */
  private async withinLimit<T>(lease: Lease, work: OnConnection<T>, demand?: Demand): Promise<T> {
    const { pool, statementTimeoutMs, url } = this.options;
    const cancelAfterMs = statementTimeoutMs + (endpointKind(url) === 'direct' ? CANCEL_AFTER_MS : 0);
    let running: { cancel(): void } | undefined;
    const timers: NodeJS.Timeout[] = [];
    const takeBack = demand?.onEnd(() => running?.cancel());
    try {
      // The client may have left before anybody asked.
      if (demand?.end) throw demand.end;
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
      takeBack?.();
      timers.forEach(clearTimeout);
    }
  }
}

/** Work on one connection. Tracked queries can be cancelled. */
type OnConnection<T> = (
  lease: Lease,
  track: <Query extends { cancel(): void }>(query: Query) => Query,
) => Promise<T>;
