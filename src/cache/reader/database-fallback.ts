import { SharedDemand, whileWanted } from '../core/demand.js';
import { currentWork, within, type Work } from '../core/work.js';
import { NOT_LOADED, pick, type Entry, type LoadedValue, type PendingRead } from './loaded-value.js';
import type { Freshness } from '../invalidation/invalidation-log.js';

interface Flight<Value> {
  readonly startedAt: number;
  readonly result: Promise<LoadedValue<Value>>;
  /** Undefined: the load goes on in any case. */
  readonly demand: SharedDemand | undefined;
}

/**
 * Reads from the database without Redis, where no generation says whether a load under way may be shared. Readers
 * share it nevertheless. A reader that arrived after the load began accepts the result only if a later read of the
 * invalidation log shows no newer write.
 */
export class DatabaseFallback<Id, Value> {
  /** Loads under way, by value key. */
  private readonly flights = new Map<string, Flight<Value>>();

  constructor(
    private readonly parts: {
      readonly load: (entries: readonly Entry<Id>[]) => Promise<readonly LoadedValue<Value>[]>;
      readonly freshness: Freshness;
      readonly onJoin: () => void;
    },
  ) {}

  /** Completes these reads. @throws whatever the load throws */
  async read(reads: readonly PendingRead<Id, Value>[]): Promise<void> {
    const { freshness, onJoin } = this.parts;
    const arrivedAt = performance.now();
    const work = currentWork();
    let missing = reads;
    while (missing.length > 0) {
      const flights = this.join(
        missing.map(({ entry }) => entry),
        work,
      );
      const all = Promise.all(flights.map(({ result }) => result));
      const results = await whileWanted(work?.demand, all);
      if (flights.some(({ startedAt }) => startedAt < arrivedAt)) await freshness.confirm();
      missing = missing.filter((read, i) => {
        const loaded = results[i] ?? NOT_LOADED;
        const isOurs = (flights[i]?.startedAt ?? 0) >= arrivedAt;
        if (!isOurs && !freshness.accepts(read.entry.tags, loaded.snapshot)) return true;
        if (!isOurs) {
          onJoin();
          read.outcome = 'joined';
        }
        read.loaded = loaded;
        return false;
      });
    }
  }

  /** Returns the loads under way of these entries. Starts one batch for the entries without a load. */
  private join(entries: readonly Entry<Id>[], work: Work | undefined): Flight<Value>[] {
    const toLoad = entries.filter(({ keys }) => !this.flightOf(keys.key));
    if (toLoad.length > 0) this.begin(toLoad, work);
    return entries.map(({ keys }) => {
      const flight = this.flights.get(keys.key) as Flight<Value>;
      flight.demand?.add(work?.demand);
      return flight;
    });
  }

  /** A load that has been given up is not shared. */
  private flightOf(key: string): Flight<Value> | undefined {
    const flight = this.flights.get(key);
    return flight?.demand?.end ? undefined : flight;
  }

  private begin(entries: readonly Entry<Id>[], work: Work | undefined): void {
    const startedAt = performance.now();
    const demand = work?.demand && new SharedDemand();
    const loading = within(demand ? { ...work, demand } : work, () => this.parts.load(entries));
    demand?.add(work?.demand);
    const done = () => demand?.close();
    loading.then(done, done);
    entries.forEach(({ keys: { key } }, i) => {
      const flight = { startedAt, result: pick(loading, i), demand };
      this.flights.set(key, flight);
      const forget = () => {
        if (this.flights.get(key) === flight) this.flights.delete(key);
      };
      flight.result.then(forget, forget);
    });
  }
}
