import { GENERATION_START } from '../../../src/cache/core/envelope.js';
import { xminOf } from '../../../src/cache/core/snapshot.js';
import type {
  Claim,
  CurrentGenerations,
  EntryKeys,
  Fill,
  Lock,
  LoggedWrites,
  Removal,
  Replacement,
  Stored,
} from '../../../src/cache/redis/cache-store.js';

/**
 * A model of Redis and the cache's scripts; each command is one step. Keys have no TTL: {@link evict} can remove them at any
 * time.
 */
export const EVERYTHING_KEY = 'everything:all:gen';

/** Fewer than in the scripts, so that few writes exceed it. */
const MAX_ADDED = 2;

const tokenOf = (generation: string): string => generation.split(':')[0] as string;
const tokensOf = (generations: string): string => generations.split('.').map(tokenOf).join('.');
const xidsOf = (generation: string): string[] =>
  generation
    .split(':')[1]
    ?.split(',')
    .filter((xid) => xid !== '') ?? [];

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
    return {
      raw: this.get(entry.key) ?? null,
      generation: isComplete ? tokens.join('.') : undefined,
      everything: this.everything,
    };
  }

  /** The transactions that changed everything. */
  get everything(): string {
    return this.get(EVERYTHING_KEY) ?? '';
  }

  readGenerations(keys: readonly string[]): CurrentGenerations {
    return { generations: keys.map((key) => this.get(key) ?? null), everything: this.everything };
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
    const current = entry.generations.map((key) => this.get(key) ?? '').join('.');
    if (tokensOf(current) === tokensOf(generation)) {
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
  replace(
    entry: EntryKeys,
    others: readonly string[],
    { token, envelope, version, snapshot }: Replacement,
  ): void {
    const [generationKey = ''] = entry.generations;
    const raw = this.get(entry.key);
    const generation = this.get(generationKey);
    this.unlink(others);
    const loadedUnder = raw?.slice(GENERATION_START, raw.indexOf('"', GENERATION_START)) ?? '';
    let stored = 0;
    if (raw !== undefined && generation !== undefined && tokenOf(loadedUnder) === tokenOf(generation)) {
      stored = Number(/"version":(\d+)/.exec(raw)?.[1] ?? 0);
    }
    if (raw === undefined || generation === undefined || stored === 0) {
      this.unlink([entry.key, generationKey]);
      return;
    }
    const isNewer = stored < version;
    const unseen = xidsOf(generation).filter((xid) => !isNewer || Number(xid) >= xminOf(snapshot));
    this.set(generationKey, unseen.length > 0 ? `${token}:${unseen.join(',')}` : token);
    const stamped = raw.slice(0, GENERATION_START) + token + raw.slice(GENERATION_START + loadedUnder.length);
    this.set(entry.key, isNewer ? envelope : stamped);
  }

  /** `ADD_WRITES` */
  addWrites(writes: LoggedWrites['ofTags'], token: string): void {
    for (const { key, xids } of writes) {
      const generation = this.get(key);
      if (generation === undefined) continue;
      const known = xidsOf(generation);
      const all = [...new Set([...known, ...xids.map(String)])];
      if (all.length === known.length) continue;
      this.set(key, all.length > MAX_ADDED ? token : `${tokenOf(generation)}:${all.join(',')}`);
    }
  }

  /** `ADD_WRITES_OF_EVERYTHING` */
  addWritesOfEverything(xids: readonly number[]): void {
    const known = this.everything.split(',').filter((xid) => xid !== '');
    const numbers = known.map((xid) => xid.replace('<', ''));
    const all = [...new Set([...numbers, ...xids.map(String)])];
    if (all.length === numbers.length) return;
    const added = all.slice(numbers.length);
    const highest = Math.max(...all.map(Number));
    this.set(EVERYTHING_KEY, all.length > MAX_ADDED ? `<${highest}` : [...known, ...added].join(','));
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
    const keys = [...this.strings.keys()].filter(
      // Every read uses the list of what changed everything, so Redis would evict it last.
      (key) => key !== EVERYTHING_KEY && key.endsWith(':gen') === (kind === 'generation'),
    );
    const key = keys[n % Math.max(1, keys.length)];
    if (key !== undefined) this.strings.delete(key);
    else this.indexes.clear();
  }

  /** All that Redis holds, in an order of its own. */
  get state(): string {
    const strings = [...this.strings].map(([key, value]) => `${key} ${value}`);
    return [...strings.toSorted(), ...[...this.indexes.keys()].toSorted()].join('\n');
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
