import { EventLoopClock } from './event-loop-clock.js';

interface Pending {
  readonly expiresAt: number;
  readonly expire: () => void;
}

/**
 * Gives every call the same time limit, with one timer for all of them. Because the limit is the same for all, the
 * calls run out in the order in which they were made.
 */
export class SharedTimeout {
  private readonly clock = new EventLoopClock();
  private readonly pending = new Set<Pending>();

  /** @param timeoutMs counted by {@link EventLoopClock}: time in which this process was too busy does not count. */
  constructor(private readonly timeoutMs: number) {}

  /** Settles as `call` does, or rejects with `onTimeout()` when the time is up. The call itself cannot be taken back. */
  async limit<T>(call: Promise<T>, onTimeout: () => Error): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const pending: Pending = {
        expiresAt: this.clock.now + this.timeoutMs,
        expire: () => reject(onTimeout()),
      };
      this.pending.add(pending);
      this.clock.start(() => this.tick());
      const done = () => {
        this.pending.delete(pending);
        if (this.pending.size === 0) this.clock.stop();
      };
      call.then(
        (value) => {
          done();
          resolve(value);
        },
        (error: unknown) => {
          done();
          reject(error);
        },
      );
    });
  }

  private tick(): void {
    for (const pending of this.pending) {
      if (pending.expiresAt > this.clock.now) return;
      this.pending.delete(pending);
      pending.expire();
    }
    if (this.pending.size === 0) this.clock.stop();
  }
}
