/** A load under way of many values, and the position of one of them. */
export interface Flight<Result> {
  readonly batch: Promise<readonly Result[]>;
  readonly at: number;
}

/** Shares loads under way among all readers that may use their results. */
export class SingleFlight<Result> {
  private readonly flights = new Map<string, Flight<Result>>();

  get(key: string): Flight<Result> | undefined {
    return this.flights.get(key);
  }

  /** Registers a load of many values until it settles. The results are aligned. A key that has a load keeps it. */
  set(keys: readonly string[], batch: Promise<readonly Result[]>): void {
    keys.forEach((key, at) => {
      if (!this.flights.has(key)) this.flights.set(key, { batch, at });
    });
    const forget = () => {
      for (const key of keys) if (this.flights.get(key)?.batch === batch) this.flights.delete(key);
    };
    batch.then(forget, forget);
  }

  get size(): number {
    return this.flights.size;
  }
}
