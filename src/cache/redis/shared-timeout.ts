import { EventLoopClock } from './event-loop-clock.js';

interface Pending {
  readonly expiresAt: number;
  readonly expire: () => void;
}

/**
 * Gives every call the same time limit, with one timer for all. With one limit, calls time out in the order in which
 * they were made.
 */
export class SharedTimeout {
  private readonly clock = new EventLoopClock();
  private readonly pending = new Set<Pending>();

  /** @param timeoutMs counted by {@link EventLoopClock}: time in which this process was blocked does not count. */
  constructor(private readonly timeoutMs: number) {}

  /** Settles as `call` does, or rejects with `onTimeout()` after the time limit. The call itself is not cancelled. */
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
