/** Decides which step is next: fast-check's scheduler, or the simulation's. */
export interface Scheduler {
  /** Resolves when the step is taken. */
  schedule(task: Promise<void>, label: string): Promise<void>;
  /** Takes one of the waiting steps. */
  waitOne(): Promise<void>;
  /** The number of waiting steps. */
  count(): number;
}

/** Everything that takes time waits for a step; the scheduler decides which step is next. */
export class Steps {
  private taken = 0;

  /** @param delays the extra steps that each step waits; the list is repeated. */
  constructor(
    private readonly scheduler: Scheduler,
    private readonly delays: readonly number[],
  ) {}

  /** @param label names the step in a printed counterexample. */
  async next(label: string): Promise<void> {
    const delay = this.delays[this.taken++ % this.delays.length] ?? 0;
    for (let i = 0; i <= delay; i++) await this.scheduler.schedule(Promise.resolve(), label);
  }
}
