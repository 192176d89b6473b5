import { freshGeneration } from '../core/fresh-generation.js';
import type { MissReason } from '../core/observer.js';
import type { CacheStore, Lock, Stored } from '../redis/cache-store.js';
import type { ClaimedRead, Fills } from './fills.js';
import type { Entry, LoadedValue, PendingRead } from './loaded-value.js';

/** The outcome of a reload. */
export interface Reloaded {
  readonly loaded: number;
  /** The values that another process is just loading. */
  readonly left: number;
}

/**
 * Loads values for which no reader waits. A reload is a miss without a reader: it claims, loads, and fills, which
 * stores nothing if a generation has changed meanwhile. Readers that miss the values share the load.
 */
export class Reloads<Id, Value> {
  constructor(
    private readonly parts: {
      readonly store: CacheStore;
      readonly fills: Fills<Id, Value>;
      readonly tryHit: (entry: Entry<Id>, stored: Stored | undefined) => LoadedValue<Value> | MissReason;
      readonly load: (reads: readonly PendingRead<Id, Value>[]) => Promise<LoadedValue<Value>[]>;
      readonly share: (
        claimed: readonly ClaimedRead<Id, Value>[],
        batch: Promise<readonly LoadedValue<Value>[]>,
      ) => Promise<void>;
    },
  ) {}

  /**
   * Loads and stores values, except those that are stored and may stay. They are read after the claim, because another
   * process may have stored them until then.
   * @throws any error of the load, after its locks are free; CacheUnavailableError
   */
  async reload(
    entries: readonly Entry<Id>[],
    mayStay: (hit: LoadedValue<Value>) => boolean,
  ): Promise<Reloaded> {
    const { store, tryHit } = this.parts;
    const keys = entries.map((entry) => entry.keys);
    const claims = await store.claim(keys, freshGeneration());
    const stored = await store.read(keys);
    const mine: ClaimedRead<Id, Value>[] = [];
    const held = new Set<Lock>();
    let left = 0;
    entries.forEach((entry, i) => {
      const claim = claims[i];
      if (claim?.mine !== true) {
        left += 1;
        return;
      }
      held.add(claim.lock);
      const hit = tryHit(entry, stored[i]);
      if (typeof hit !== 'string' && mayStay(hit)) return;
      const { generation } = claim;
      const everything = stored[i]?.everything ?? '';
      mine.push({
        read: {
          entry,
          generation,
          everything,
          passes: false,
          missed: undefined,
          outcome: 'loaded',
          loaded: undefined,
        },
        claim,
      });
    });
    await this.loadAndFill(mine, held);
    return { loaded: mine.length, left };
  }

  private async loadAndFill(mine: readonly ClaimedRead<Id, Value>[], held: Set<Lock>): Promise<void> {
    const { store, fills, load, share } = this.parts;
    // A fill frees the lock of its values.
    for (const { claim } of mine) held.delete(claim.lock);
    if (held.size > 0) await store.release([...held]);
    if (mine.length === 0) return;
    const loading = load(mine.map(({ read }) => read));
    try {
      await share(mine, loading);
    } catch (error) {
      await fills.release(mine);
      throw error;
    }
    await fills.fill(mine, await loading);
  }
}
