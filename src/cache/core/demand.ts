/** Whether somebody still waits for the result of some work. */
export interface Demand {
  /** Why nobody waits any more; undefined while somebody does. */
  readonly end: Error | undefined;
  /**
   * Calls `listener` once, when nobody waits any more, or at once if that is so already. Returns a function that takes
   * the listener back.
   */
  onEnd(listener: (reason: Error) => void): () => void;
}

const NOTHING = (): void => {};

/** The base of demands: it remembers who is to be told. */
export abstract class EndingDemand implements Demand {
  private reason: Error | undefined;
  private readonly listeners = new Set<(reason: Error) => void>();

  get end(): Error | undefined {
    return this.reason;
  }

  onEnd(listener: (reason: Error) => void): () => void {
    if (this.reason) {
      listener(this.reason);
      return NOTHING;
    }
    this.listeners.add(listener);
    if (this.listeners.size === 1) this.watch();
    return () => {
      if (this.listeners.delete(listener) && this.listeners.size === 0) this.unwatch();
    };
  }

  /** Called when somebody begins to wait for the end. */
  protected abstract watch(): void;
  /** Called when nobody waits for the end any more. */
  protected abstract unwatch(): void;

  protected finish(reason: Error): void {
    if (this.reason) return;
    this.reason = reason;
    if (this.listeners.size > 0) this.unwatch();
    for (const listener of this.listeners) listener(reason);
    this.listeners.clear();
  }
}

/** The demand for work whose result several requests share: it ends when all of them have ended. */
export class SharedDemand extends EndingDemand {
  /** Those who wait, with the functions that take the listeners back. */
  private readonly waiting = new Map<Demand, () => void>();
  private isEndless = false;

  /** @param demand of one more who waits; undefined: of one who waits to the end of the work */
  add(demand: Demand | undefined): void {
    if (!demand) {
      this.isEndless = true;
      this.close();
    }
    if (this.isEndless || !demand || this.end || this.waiting.has(demand)) return;
    this.waiting.set(demand, NOTHING);
    const takeBack = demand.onEnd((reason) => {
      this.waiting.delete(demand);
      if (this.waiting.size === 0 && !this.isEndless) this.finish(reason);
    });
    if (this.waiting.has(demand)) this.waiting.set(demand, takeBack);
  }

  /** Call it when the work is done. */
  close(): void {
    for (const takeBack of this.waiting.values()) takeBack();
    this.waiting.clear();
  }

  protected watch(): void {}

  protected unwatch(): void {}
}

/** Settles as `result` does, or rejects when nobody waits for it any more. The work itself continues. */
export async function whileWanted<T>(demand: Demand | undefined, result: Promise<T>): Promise<T> {
  if (!demand) return await result;
  return await new Promise<T>((resolve, reject) => {
    const takeBack = demand.onEnd(reject);
    result.then(resolve, reject).finally(takeBack).catch(NOTHING);
  });
}
