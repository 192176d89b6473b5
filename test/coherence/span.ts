import { setTimeout as sleep } from 'node:timers/promises';

/** A period of a run; it ends early when the run is aborted. */
export class Span {
  private readonly endsAt: number;

  constructor(
    durationMs: number,
    readonly signal: AbortSignal,
  ) {
    this.endsAt = performance.now() + durationMs;
  }

  get leftMs(): number {
    return this.signal.aborted ? 0 : Math.max(0, this.endsAt - performance.now());
  }

  get isOver(): boolean {
    return this.leftMs === 0;
  }

  /** Waits `ms`, even past the end of the span; returns at once if the run is aborted. */
  async pause(ms: number): Promise<void> {
    if (ms <= 0 || this.signal.aborted) return;
    await sleep(ms, undefined, { signal: this.signal }).catch(() => undefined);
  }

  /** Waits until the span ends. */
  async rest(): Promise<void> {
    await this.pause(this.leftMs);
  }
}

/** A random duration between two others (ms). */
export const between = (minMs: number, maxMs: number): number => minMs + Math.random() * (maxMs - minMs);
