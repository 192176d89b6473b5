import type { LogConnection } from './log-connection.js';

/** The maximum number of entries that are removed in one transaction. */
const PRUNED_AT_ONCE = 5_000;

/** Removes old entries of the invalidation log. */
export class LogPruner {
  constructor(private readonly connection: LogConnection) {}

  /**
   * Removes entries from `lowest` to below `below`; returns how many.
   * @throws if the log cannot be read
   */
  async prune(lowest: number, below: number): Promise<number> {
    if (this.connection.isBehind) throw new Error('The log cannot be read');
    let removed = 0;
    for (;;) {
      // Polls take turns with the batches on this connection.
      const [row] = await this.connection.current<{ removed: string }[]>`
        select public.prune_cache_log(${String(lowest)}::xid8, ${String(below)}::xid8, ${PRUNED_AT_ONCE}::int) as removed`;
      removed += Number(row?.removed ?? 0);
      if (Number(row?.removed ?? 0) < PRUNED_AT_ONCE) return removed;
    }
  }
}
