import { setTimeout as sleep } from 'node:timers/promises';

/** The time that a part of a run may take; it is over early when the whole run is called off. */
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

  /** Waits that long, whether or not the span is over meanwhile; called off, it returns at once. */
  async pause(ms: number): Promise<void> {
    if (ms <= 0 || this.signal.aborted) return;
    await sleep(ms, undefined, { signal: this.signal }).catch(() => undefined);
  }

  /** Waits for the end. */
  async rest(): Promise<void> {
    await this.pause(this.leftMs);
  }
}

/** A time between two others, at random. */
export const between = (leastMs: number, mostMs: number): number =>
  leastMs + Math.random() * (mostMs - leastMs);
