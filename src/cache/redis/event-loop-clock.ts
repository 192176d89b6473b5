/**
 * A clock that counts only time in which this process's event loop was turning.
 *
 * A deadline on a plain timer also fires when the process itself was busy: the answer has long arrived, but nobody had
 * time to read it. This clock credits at most two ticks for any stretch between two of its ticks, so a deadline on it
 * runs out only after the loop has had its chances to read an answer.
 */
export class EventLoopClock {
  private elapsed = 0;
  private last = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly tickMs = 10) {}

  /** Credited milliseconds since the clock was made. */
  get now(): number {
    return this.elapsed;
  }

  /** Calls back on every tick until stopped. The callback runs after the loop has read what has arrived. */
  start(onTick: () => void): void {
    if (this.timer) return;
    this.last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      this.elapsed += Math.min(now - this.last, 2 * this.tickMs);
      this.last = now;
      setImmediate(onTick);
    }, this.tickMs);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }
}
