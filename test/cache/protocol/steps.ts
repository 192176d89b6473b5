import type * as fc from 'fast-check';

/** Everything that takes time takes steps, and the scheduler decides whose step comes next. */
export class Steps {
  private taken = 0;

  /** @param delays how much longer each step takes than it must; begun anew when they are used up. */
  constructor(
    private readonly scheduler: fc.Scheduler,
    private readonly delays: readonly number[],
  ) {}

  /** @param label tells the step apart when a counterexample is printed. */
  async next(label: string): Promise<void> {
    const delay = this.delays[this.taken++ % this.delays.length] ?? 0;
    for (let i = 0; i <= delay; i++) await this.scheduler.schedule(Promise.resolve(), label);
  }
}
