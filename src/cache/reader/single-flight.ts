import { whileWanted, type Demand, type SharedDemand } from '../core/demand.js';

/** A load under way of many values, and who waits for it. */
export interface Load<Result> {
  readonly batch: Promise<readonly Result[]>;
  /** Undefined: the load goes on in any case. */
  readonly demand: SharedDemand | undefined;
}

/** A load under way, and the position of one of its values. */
export interface Flight<Result> extends Load<Result> {
  readonly at: number;
}

/** Shares loads under way among all readers that may use their results. */
export class SingleFlight<Result> {
  private readonly flights = new Map<string, Flight<Result>>();

  /** A load that has been given up is not shared. */
  get(key: string): Flight<Result> | undefined {
    const flight = this.flights.get(key);
    return flight?.demand?.end ? undefined : flight;
  }

  /** Registers a load of many values until it settles. The results are aligned. A key that has a load keeps it. */
  set(keys: readonly string[], load: Load<Result>): void {
    const { batch } = load;
    keys.forEach((key, at) => {
      if (!this.get(key)) this.flights.set(key, { ...load, at });
    });
    const forget = () => {
      load.demand?.close();
      for (const key of keys) if (this.flights.get(key)?.batch === batch) this.flights.delete(key);
    };
    batch.then(forget, forget);
  }

  get size(): number {
    return this.flights.size;
  }
}

/** Waits for the values of a load together with all who wait for it already. Rejects when `demand` ends before. */
export async function joined<Result>(
  load: Load<Result>,
  demand: Demand | undefined,
): Promise<readonly Result[]> {
  load.demand?.add(demand);
  return await whileWanted(demand, load.batch);
}
