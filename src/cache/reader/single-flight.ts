/** Shares a load under way among all readers that may use its result. */
export class SingleFlight<Result> {
  private readonly flights = new Map<string, Promise<Result>>();

  get(key: string): Promise<Result> | undefined {
    return this.flights.get(key);
  }

  /** Registers a load until it settles. If the key already has a load, that one stays. */
  set(key: string, flight: Promise<Result>): void {
    if (this.flights.has(key)) return;
    this.flights.set(key, flight);
    const forget = () => this.flights.delete(key);
    flight.then(forget, forget);
  }

  get size(): number {
    return this.flights.size;
  }
}
