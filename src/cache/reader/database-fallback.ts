import { currentSpan, within } from '../core/span.js';
import { NOT_LOADED, pick, type Entry, type LoadedValue, type PendingRead } from './loaded-value.js';
import type { Freshness } from '../invalidation/invalidation-log.js';

interface Flight<Value> {
  readonly startedAt: number;
  readonly result: Promise<LoadedValue<Value>>;
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
    const span = currentSpan();
    let missing = reads;
    while (missing.length > 0) {
      const entries = missing.map(({ entry }) => entry);
      const flights = within(span, () => this.join(entries));
      const results = await Promise.all(flights.map(({ result }) => result));
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
  private join(entries: readonly Entry<Id>[]): Flight<Value>[] {
    const toLoad = entries.filter(({ keys }) => !this.flights.has(keys.key));
    if (toLoad.length > 0) {
      const startedAt = performance.now();
      const loading = this.parts.load(toLoad);
      toLoad.forEach(({ keys: { key } }, i) => {
        const flight = { startedAt, result: pick(loading, i) };
        this.flights.set(key, flight);
        const forget = () => {
          if (this.flights.get(key) === flight) this.flights.delete(key);
        };
        flight.result.then(forget, forget);
      });
    }
    return entries.map(({ keys }) => this.flights.get(keys.key) as Flight<Value>);
  }
}
