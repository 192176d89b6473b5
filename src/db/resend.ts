import type postgres from 'postgres';

/** `admin_shutdown` and `crash_shutdown`: how PostgreSQL says good-bye to a connection. */
const CONNECTION_ENDED = new Set(['57P01', '57P02']);

/**
 * Makes `sql.unsafe`, the way in which Drizzle runs statements, send a statement again that was refused unexecuted.
 *
 * The driver keeps the error with which PostgreSQL ended a connection at work, and rejects the first statement of the
 * connection that replaces it with that error, without sending it (postgres.js 3.4.9, `src/connection.js`:
 * `closed` leaves `query` and `errorResponse` as they are, and the next `ReadyForQuery` passes the error to `initial`).
 * A statement that was at work then fails with `CONNECTION_CLOSED` instead: whether it was executed is not known, and it
 * is never sent again. So these two codes always mean a statement that nobody has seen, be it a read or a write.
 *
 * @param most how often a statement is sent again: each connection of the pool can refuse it once
 */
export function resendUnexecuted(sql: postgres.Sql, most: number): void {
  const send = sql.unsafe.bind(sql) as Send;
  const resending: Send = (text, parameters, options) => {
    const run = async (rows: (query: Query) => PromiseLike<unknown>): Promise<unknown> => {
      for (let left = most; ; left--) {
        try {
          return await rows(send(text, parameters, options));
        } catch (error) {
          if (left <= 0 || !wasRefused(error)) throw error;
        }
      }
    };
    return {
      values: async () => await run((query) => query.values()),
      then: async (resolve, reject) => await run((query) => query).then(resolve, reject),
    };
  };
  Object.assign(sql, { unsafe: resending });
}

/** What Drizzle uses of a query. */
interface Query extends PromiseLike<unknown> {
  values(): PromiseLike<unknown>;
}
type Send = (text: string, parameters?: unknown[], options?: object) => Query;

const wasRefused = (error: unknown): boolean =>
  error instanceof Error && CONNECTION_ENDED.has((error as { code?: string }).code ?? '');
