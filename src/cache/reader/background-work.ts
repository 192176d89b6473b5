import { InFlightLimit } from '../redis/in-flight-limit.js';

/** How many pieces run at once, at most: requests need the connections to the database. */
const MAX_AT_ONCE = 2;

/** Work of one process for which no reader waits. Nothing is begun after the stop. */
export class BackgroundWork {
  private readonly room = new InFlightLimit(MAX_AT_ONCE);
  private stopped = false;

  get isStopped(): boolean {
    return this.stopped;
  }

  /** Runs a piece when there is room. Returns undefined if the work was stopped before. @throws what the piece throws */
  async run<Result>(piece: () => Promise<Result>): Promise<Result | undefined> {
    await this.room.enter(1);
    try {
      return this.stopped ? undefined : await piece();
    } finally {
      this.room.leave(1);
    }
  }

  stop(): void {
    this.stopped = true;
  }
}
