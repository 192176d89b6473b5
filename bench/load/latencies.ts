import { percentile } from '../support/numbers.js';
import type { Received } from './connection.js';
import type { LoadResult } from './tasks.js';

/** Collects the latencies and failures of requests. */
export class Latencies {
  private values = new Float64Array(16_384);
  private count = 0;
  private errors = 0;
  private firstError: string | undefined;

  /** Adds a request that was answered, or failed, this many ms after it was sent. */
  add(ms: number, received: Received | Error): void {
    if (received instanceof Error) this.failed(received.message);
    else if (received.status !== 200 || !received.hasData)
      this.failed(`status ${received.status} without data`);
    if (this.count === this.values.length) {
      const larger = new Float64Array(this.count * 2);
      larger.set(this.values);
      this.values = larger;
    }
    this.values[this.count++] = ms;
  }

  result(elapsedMs: number): LoadResult {
    const sorted = this.values.slice(0, this.count).sort();
    return {
      requests: this.count,
      errors: this.errors,
      firstError: this.firstError,
      elapsedMs,
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
    };
  }

  private failed(reason: string): void {
    this.errors++;
    this.firstError ??= reason;
  }
}
