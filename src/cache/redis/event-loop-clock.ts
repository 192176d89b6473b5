/**
 * A clock that counts only the time in which this process's event loop ran.
 *
 * A plain timer also fires after the process itself was blocked, when the reply has arrived but could not be read. If
 * the event loop was blocked between two ticks, at most two ticks of that time count, so a call never times out
 * before its reply could be read.
 */
export class EventLoopClock {
  private elapsed = 0;
  private last = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly tickMs = 10) {}

  /** Counted milliseconds since the clock was made. */
  get now(): number {
    return this.elapsed;
  }

  /** Calls back on every tick until stopped, after the event loop has read the data that arrived. */
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
