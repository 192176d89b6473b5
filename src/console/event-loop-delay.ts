import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';

/** After this long without a reader, nothing is measured any more (ms). */
const IDLE_MS = 30_000;
/** How often the delay is measured (ms). */
const RESOLUTION_MS = 20;

/** The delay of the event loop, measured only while somebody reads it. */
export class EventLoopDelay {
  private readonly histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  private idle: NodeJS.Timeout | undefined;

  /** The 99th percentile since the last call, in seconds; null at the first call. */
  p99(): number | null {
    const wasMeasured = this.histogram.count > 0;
    // The histogram contains the time between two measurements as well.
    const seconds = Math.max(0, this.histogram.percentile(99) / 1e6 - RESOLUTION_MS) / 1_000;
    this.histogram.reset();
    this.histogram.enable();
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      this.histogram.disable();
      this.histogram.reset();
    }, IDLE_MS).unref();
    return wasMeasured ? seconds : null;
  }
}
