import { NOT_LOADED, pick, type LoadedValue, type LoadedValues, type Entry } from './loaded-value.js';
import type { Freshness } from './invalidation/invalidation-log.js';

interface Flight<Value> {
  readonly startedAt: number;
  readonly result: Promise<LoadedValue<Value>>;
}

/**
 * Reads from the database without Redis, where no generation says whether a load under way may be shared. Readers share
 * it all the same, but one that came after it began accepts its result only if the invalidation log, read again since
 * then, knows no newer write.
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

  /** Answers the entries at these indexes. @throws whatever the load throws */
  async read(
    entries: readonly Entry<Id>[],
    indexes: readonly number[],
    answers: LoadedValues<Value>,
  ): Promise<void> {
    const { freshness, onJoin } = this.parts;
    const arrivedAt = performance.now();
    let missing = [...indexes];
    while (missing.length > 0) {
      const flights = this.board(missing.map((index) => entries[index] as Entry<Id>));
      const results = await Promise.all(flights.map(async ({ result }) => await result));
      if (flights.some(({ startedAt }) => startedAt < arrivedAt)) await freshness.confirm();
      missing = missing.filter((index, i) => {
        const answer = results[i] ?? NOT_LOADED;
        const isOurs = (flights[i]?.startedAt ?? 0) >= arrivedAt;
        if (!isOurs && !freshness.accepts((entries[index] as Entry<Id>).tags, answer.snapshot)) return true;
        if (!isOurs) onJoin();
        answers.set(index, answer);
        return false;
      });
    }
  }

  /** The loads under way of these entries; those that have none are started, together. */
  private board(entries: readonly Entry<Id>[]): Flight<Value>[] {
    const toLoad = entries.filter(({ slot }) => !this.flights.has(slot.key));
    if (toLoad.length > 0) {
      const startedAt = performance.now();
      const loading = this.parts.load(toLoad);
      toLoad.forEach(({ slot: { key } }, i) => {
        const flight = { startedAt, result: pick(loading, i) };
        this.flights.set(key, flight);
        const forget = () => {
          if (this.flights.get(key) === flight) this.flights.delete(key);
        };
        flight.result.then(forget, forget);
      });
    }
    return entries.map(({ slot }) => this.flights.get(slot.key) as Flight<Value>);
  }
}
