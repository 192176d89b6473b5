import type { Sql } from './connection.js';
import type { LogConnection } from './log-connection.js';

const LEADER_LOCK = 7_305_190_415;

/** Elects the one process that maintains the invalidation log: the one whose session holds a lock in PostgreSQL. */
export class LogLeader {
  /** The connection that holds the lock; closing it releases the lock. */
  private leading: Sql | undefined;

  constructor(private readonly connection: LogConnection) {}

  /** Tries to become the leader. Returns whether this process leads. */
  async lead(): Promise<boolean> {
    // A statement that waits for a dropped connection makes the driver reopen it, and nothing would close it again.
    if (this.connection.isBehind) return false;
    if (this.connection.isCurrent(this.leading)) return true;
    const session = this.connection.current;
    const [row] = await session<{ leads: boolean }[]>`select pg_try_advisory_lock(${LEADER_LOCK}) as leads`;
    this.leading = row?.leads === true ? session : undefined;
    return this.leading !== undefined;
  }
}
