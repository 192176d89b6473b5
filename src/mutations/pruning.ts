import type { Logger } from '../logger.js';

/** How often each process looks for rows to remove: after 50 to 100 % of this time (ms). */
const EVERY_MS = 5 * 60_000;
/** The maximum number of rows that are removed in one transaction, and of such transactions in a row. */
const PRUNED_AT_ONCE = 5_000;
const MAX_BATCHES = 200;

/**
 * Removes rows that are too old, now and then. Every process does so, and PostgreSQL lets one of them work at a time:
 * the others find a lock that is taken, and do nothing.
 */
export class Pruning {
  private timer: NodeJS.Timeout | undefined;
  private working: Promise<void> | undefined;
  private isStopped = false;

  /** @param tables for each: removes at most this many rows in one transaction, and returns how many it removed */
  constructor(
    private readonly tables: readonly ((most: number) => Promise<number>)[],
    private readonly log: Logger,
  ) {}

  start(): void {
    if (this.isStopped) return;
    this.timer = setTimeout(
      () => {
        this.working = this.work().finally(() => this.start());
      },
      EVERY_MS * (0.5 + Math.random() / 2),
    );
    this.timer.unref();
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.working;
  }

  /** Removes what is too old, up to a million rows of each table. Never fails. */
  private async work(): Promise<void> {
    try {
      for (const prune of this.tables) {
        let batches = 0;
        while (!this.isStopped && batches++ < MAX_BATCHES)
          if ((await prune(PRUNED_AT_ONCE)) < PRUNED_AT_ONCE) break;
      }
    } catch (error) {
      this.log.warn({ err: error }, 'Could not remove old rows');
    }
  }
}
