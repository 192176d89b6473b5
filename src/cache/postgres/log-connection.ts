import type { OpenConnection, Sql } from './connection.js';

/**
 * The connection over which a process reads and tends the invalidation log. It is the log's own, so that a busy pool cannot
 * delay it, and is replaced after a read that failed.
 */
export class LogConnection {
  /** Whether the last read of the log failed, or there was none. */
  isBehind = true;
  private sql: Sql | undefined;

  constructor(private readonly open: OpenConnection) {}

  get current(): Sql {
    return (this.sql ??= this.open({
      max: 1,
      connect_timeout: 1,
      idle_timeout: 0,
      max_lifetime: null,
      connection: { application_name: 'flovo-bots invalidation log' },
    }));
  }

  /** Whether this is the open connection: what a session held is lost with it. */
  isCurrent(sql: Sql | undefined): boolean {
    return sql !== undefined && sql === this.sql;
  }

  drop(): void {
    const dropped = this.sql;
    this.sql = undefined;
    // What is still under way on it is given up at once; its failure was already told to the caller of the read.
    dropped?.end({ timeout: 0 }).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.sql?.end({ timeout: 1 });
  }
}
