import type { Logger } from '../core/logger.js';
import { Verification, type VerificationParts } from './verification.js';

/** The maximum number of hits that wait to be compared; further ones are not compared. */
const MAX_WAITING = 1_000;

export type ShadowResult = 'compared' | 'stale' | 'corrupt' | 'orphaned';

/** Compares a share of the hits of a running server with PostgreSQL, after they were served. */
export class Shadow {
  private waiting = new Set<string>();
  private running: Promise<void> | undefined;
  private stopped = false;

  constructor(
    private readonly parts: VerificationParts & {
      /** The share of hits to compare: above 0, at most 1. */
      readonly share: number;
      readonly log: Logger;
      /** Is told how many values were compared, and of each problem. */
      readonly onResult: (result: ShadowResult, count: number) => void;
    },
  ) {}

  /** Is told of each hit. Never fails, and does not wait. */
  offer(key: string): void {
    if (Math.random() >= this.parts.share || this.stopped || this.waiting.size >= MAX_WAITING) return;
    this.waiting.add(key);
    this.running ??= this.run();
  }

  /** Compares no more, and waits for the comparison under way. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private async run(): Promise<void> {
    while (this.waiting.size > 0 && !this.stopped) {
      const keys = [...this.waiting];
      this.waiting = new Set();
      await this.compare(keys);
    }
    this.running = undefined;
  }

  private async compare(keys: readonly string[]): Promise<void> {
    const { log, onResult } = this.parts;
    const verification = new Verification(this.parts);
    try {
      await verification.check(keys);
    } catch (error) {
      log.warn({ err: error }, 'Could not compare cached values with PostgreSQL');
    }
    const { compared, stale, corrupt, orphaned, findings } = verification.verified;
    for (const [result, count] of Object.entries({ compared, stale, corrupt, orphaned }))
      onResult(result as ShadowResult, count);
    for (const finding of findings) log.error({ ...finding }, 'A cached value differs from PostgreSQL');
  }
}
