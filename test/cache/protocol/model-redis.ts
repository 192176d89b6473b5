import type { Claim, Fill, Lock, Removal, EntryKeys, Stored } from '../../../src/cache/redis/redis-store.js';

/** What one REPLACE writes. */
export interface Replacement {
  readonly token: string;
  readonly envelope: string;
  readonly version: number;
}

/** `{"gen":"` */
const HEAD = 8;

/**
 * What Redis holds, and what the scripts of the cache do with it, each at one moment. Keys have no life of their own:
 * whatever runs out is taken away by {@link evict}, at any time.
 */
export class ModelRedis {
  private strings = new Map<string, string>();
  private indexes = new Map<string, ReadonlySet<string>>();

  get(key: string): string | undefined {
    return this.strings.get(key);
  }

  set(key: string, value: string): void {
    this.strings.set(key, value);
  }

  unlink(keys: readonly string[]): void {
    for (const key of keys) this.strings.delete(key);
  }

  read(slot: EntryKeys): Stored {
    const tokens = slot.generations.map((key) => this.get(key));
    const isComplete = tokens.every((token) => token !== undefined);
    return { raw: this.get(slot.key) ?? null, generation: isComplete ? tokens.join('.') : undefined };
  }

  /** `CLAIM`: one lock for the batch, named after its first value. */
  claim(slots: readonly EntryKeys[], token: string): Claim[] {
    const generations = slots.map((slot) =>
      slot.generations
        .map((key) => {
          if (this.get(key) === undefined) this.set(key, token);
          return this.get(key);
        })
        .join('.'),
    );
    const lock = { key: `${slots[0]?.key}:lock`, holds: generations.join('.') };
    const mine = this.get(lock.key) !== lock.holds;
    if (mine) this.set(lock.key, lock.holds);
    return generations.map((generation) => ({ mine, generation, lock }));
  }

  /** `FILL` */
  fill({ slot, generation, lock, envelope }: Fill): void {
    if (slot.generations.map((key) => this.get(key) ?? '').join('.') === generation) {
      this.set(slot.key, envelope);
      if (slot.index !== undefined) {
        this.indexes.set(slot.index.key, new Set([...(this.indexes.get(slot.index.key) ?? []), slot.key]));
      }
    }
    this.release(lock);
  }

  /** `RELEASE` */
  release({ key, holds }: Lock): void {
    if (this.get(key) === holds) this.unlink([key]);
  }

  /** `REPLACE` */
  replace(slot: EntryKeys, others: readonly string[], { token, envelope, version }: Replacement): void {
    const [generationKey = ''] = slot.generations;
    const raw = this.get(slot.key);
    const generation = this.get(generationKey);
    this.unlink(others);
    let stored = 0;
    if (raw !== undefined && generation !== undefined && raw.startsWith(generation, HEAD)) {
      stored = Number(/"version":(\d+)/.exec(raw)?.[1] ?? 0);
    }
    if (raw === undefined || generation === undefined || stored === 0) {
      this.unlink([slot.key, generationKey]);
      return;
    }
    this.set(generationKey, token);
    const kept = raw.slice(0, HEAD) + token + raw.slice(HEAD + generation.length);
    this.set(slot.key, stored >= version ? kept : envelope);
  }

  /** `UNLINK` and `DROP_INDEXED` */
  remove({ keys, indexes }: Removal): void {
    this.unlink(keys);
    for (const index of indexes) {
      this.unlink([...(this.indexes.get(index.key) ?? [])]);
      this.indexes.delete(index.key);
    }
  }

  /** Takes one key away: the n-th of a kind, if there are any. */
  evict(kind: 'generation' | 'other', n: number): void {
    const keys = [...this.strings.keys()].filter((key) => key.endsWith(':gen') === (kind === 'generation'));
    const key = keys[n % Math.max(1, keys.length)];
    if (key !== undefined) this.strings.delete(key);
    else this.indexes.clear();
  }

  /** A dump of what it holds. It is put back by calling the returned function. */
  dump(): () => void {
    const [strings, indexes] = [new Map(this.strings), new Map(this.indexes)];
    return () => {
      this.strings = new Map(strings);
      this.indexes = new Map(indexes);
    };
  }
}
