import type { Scheduler } from './steps.js';

/** A generator of numbers from 0 to 1 that depend on the seed only (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Takes the waiting steps in an order that depends on the seed only. */
export class SeededScheduler implements Scheduler {
  private readonly waiting: { readonly label: string; readonly take: () => void }[] = [];
  private readonly random: () => number;
  /** The labels of all steps taken, in order. */
  readonly taken: string[] = [];

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  async schedule(task: Promise<void>, label: string): Promise<void> {
    await new Promise<void>((take) => {
      this.waiting.push({ label, take });
    });
    await task;
  }

  /** @throws Error if no step is waiting, so that nothing would ever happen again */
  async waitOne(): Promise<void> {
    const [step] = this.waiting.splice(Math.floor(this.random() * this.waiting.length), 1);
    if (!step) throw new Error('No step is waiting');
    this.taken.push(step.label);
    step.take();
    await Promise.resolve();
  }

  count(): number {
    return this.waiting.length;
  }

  /** The labels of the waiting steps, whatever their order. */
  get pending(): string {
    return this.waiting
      .map(({ label }) => label)
      .toSorted()
      .join('\n');
  }
}
