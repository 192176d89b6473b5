import { GENERATION_START } from '../../../src/cache/core/envelope.js';
import type {
  Claim,
  EntryKeys,
  Fill,
  Lock,
  Removal,
  Replacement,
  Stored,
} from '../../../src/cache/redis/cache-store.js';

/**
 * A model of Redis and the cache's scripts; each command is one step. Keys have no TTL: {@link evict} can remove them at any
 * time.
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

  read(entry: EntryKeys): Stored {
    const tokens = entry.generations.map((key) => this.get(key));
    const isComplete = tokens.every((token) => token !== undefined);
    return { raw: this.get(entry.key) ?? null, generation: isComplete ? tokens.join('.') : undefined };
  }

  /** `CLAIM`: one lock for the batch, named after its first value. */
  claim(entries: readonly EntryKeys[], token: string): Claim[] {
    const generations = entries.map((entry) =>
      entry.generations
        .map((key) => {
          if (this.get(key) === undefined) this.set(key, token);
          return this.get(key);
        })
        .join('.'),
    );
    const lock = { key: `${entries[0]?.key}:lock`, holds: generations.join('.') };
    const mine = this.get(lock.key) !== lock.holds;
    if (mine) this.set(lock.key, lock.holds);
    return generations.map((generation) => ({ mine, generation, lock }));
  }

  /** `FILL` */
  fill({ keys: entry, generation, lock, envelope }: Fill): void {
    if (entry.generations.map((key) => this.get(key) ?? '').join('.') === generation) {
      this.set(entry.key, envelope);
      if (entry.index !== undefined) {
        this.indexes.set(entry.index.key, new Set([...(this.indexes.get(entry.index.key) ?? []), entry.key]));
      }
    }
    this.release(lock);
  }

  /** `RELEASE` */
  release({ key, holds }: Lock): void {
    if (this.get(key) === holds) this.unlink([key]);
  }

  /** `REPLACE` */
  replace(entry: EntryKeys, others: readonly string[], { token, envelope, version }: Replacement): void {
    const [generationKey = ''] = entry.generations;
    const raw = this.get(entry.key);
    const generation = this.get(generationKey);
    this.unlink(others);
    let stored = 0;
    if (raw !== undefined && generation !== undefined && raw.startsWith(generation, GENERATION_START)) {
      stored = Number(/"version":(\d+)/.exec(raw)?.[1] ?? 0);
    }
    if (raw === undefined || generation === undefined || stored === 0) {
      this.unlink([entry.key, generationKey]);
      return;
    }
    this.set(generationKey, token);
    const stamped = raw.slice(0, GENERATION_START) + token + raw.slice(GENERATION_START + generation.length);
    this.set(entry.key, stored >= version ? stamped : envelope);
  }

  /** `UNLINK` and `DROP_INDEXED` */
  remove({ keys, indexes }: Removal): void {
    this.unlink(keys);
    for (const index of indexes) {
      this.unlink([...(this.indexes.get(index.key) ?? [])]);
      this.indexes.delete(index.key);
    }
  }

  /** Removes the n-th key of a kind, if there is one. */
  evict(kind: 'generation' | 'other', n: number): void {
    const keys = [...this.strings.keys()].filter((key) => key.endsWith(':gen') === (kind === 'generation'));
    const key = keys[n % Math.max(1, keys.length)];
    if (key !== undefined) this.strings.delete(key);
    else this.indexes.clear();
  }

  /** Takes a dump. The returned function restores it. */
  dump(): () => void {
    const [strings, indexes] = [new Map(this.strings), new Map(this.indexes)];
    return () => {
      this.strings = new Map(strings);
      this.indexes = new Map(indexes);
    };
  }
}
