import type { OpenConnection, Sql } from './connection.js';

/** By this name PostgreSQL lists the connections over which processes read the invalidation log. */
export const LOG_CONNECTION_NAME = 'flovo-bots invalidation log';

/**
 * The connection over which a process reads and maintains the invalidation log. The log has its own connection, so
 * that a busy pool cannot delay it. The connection is replaced after a failed read.
 */
export class LogConnection {
  /** Whether the last read of the log failed, or there was none yet. */
  isBehind = true;
  private sql: Sql | undefined;

  constructor(private readonly open: OpenConnection) {}

  get current(): Sql {
    return (this.sql ??= this.open({
      max: 1,
      connect_timeout: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connection: { application_name: LOG_CONNECTION_NAME },
    }));
  }

  /** Whether this is the open connection. A lock of its session is lost when the connection is replaced. */
  isCurrent(sql: Sql | undefined): boolean {
    return sql !== undefined && sql === this.sql;
  }

  drop(): void {
    const dropped = this.sql;
    this.sql = undefined;
    // Cancels statements under way at once. The caller of the read already has the error.
    dropped?.end({ timeout: 0 }).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.sql?.end({ timeout: 1 });
  }
}
