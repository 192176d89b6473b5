import type { EntryKeys } from './redis/redis-store.js';
import type { SnapshotText } from './invalidation/snapshot.js';
import type { Tag } from './invalidation/tags.js';

/** An id that is asked for, and the names that follow from it. */
export interface Entry<Id> {
  readonly id: Id;
  readonly slot: EntryKeys;
  readonly tags: readonly Tag[];
}

/** A value and what vouches for it. */
export interface LoadedValue<Value> {
  readonly value: Value | null;
  readonly snapshot: SnapshotText;
  /** The generation it was read under; undefined if Redis was not there to tell. */
  readonly generation: string | undefined;
  /** When its life ends (ms since 1970). */
  readonly expiresAt: number;
  readonly version: number;
}

/** What a load leaves out: a missing row that nothing vouches for. */
export const NOT_LOADED: LoadedValue<never> = {
  value: null,
  snapshot: '',
  generation: undefined,
  expiresAt: 0,
  version: 0,
};

/** The answers of one read, in the order in which they were asked for. */
export class LoadedValues<Value> {
  private readonly answers: (LoadedValue<Value> | undefined)[] = [];

  set(index: number, answer: LoadedValue<Value>): void {
    this.answers[index] = answer;
  }

  at(index: number): LoadedValue<Value> {
    return this.answers[index] ?? NOT_LOADED;
  }
}

/** The i-th answer of a batch that is under way. */
export const pick = async <Value>(
  batch: Promise<readonly LoadedValue<Value>[]>,
  i: number,
): Promise<LoadedValue<Value>> => (await batch)[i] ?? NOT_LOADED;
