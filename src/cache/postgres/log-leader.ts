import type { Sql } from './connection.js';
import type { LogConnection } from './log-connection.js';

const LEADER_LOCK = 7_305_190_415;

/** Elects the one process that tends the invalidation log: the one whose session holds a lock in PostgreSQL. */
export class LogLeader {
  /** The connection that holds the lock; the lock goes with it. */
  private leading: Sql | undefined;

  constructor(private readonly connection: LogConnection) {}

  /** Whether this process leads; it tries to. */
  async lead(): Promise<boolean> {
    // What waits for a connection that is given up makes the driver open it again, and nobody would ever close it.
    if (this.connection.isBehind) return false;
    if (this.connection.isCurrent(this.leading)) return true;
    const session = this.connection.current;
    const [row] = await session<{ leads: boolean }[]>`select pg_try_advisory_lock(${LEADER_LOCK}) as leads`;
    this.leading = row?.leads === true ? session : undefined;
    return this.leading !== undefined;
  }
}
