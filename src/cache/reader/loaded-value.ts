import type { EntryKeys } from '../redis/cache-store.js';
import type { SnapshotText } from '../core/snapshot.js';
import type { Tag } from '../core/tags.js';

/** An id that is asked for, and the names that follow from it. */
export interface Entry<Id> {
  readonly id: Id;
  readonly keys: EntryKeys;
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

/** Stands for an id for which the load returned nothing. It is never cached. */
export const NOT_LOADED: LoadedValue<never> = {
  value: null,
  snapshot: '',
  generation: undefined,
  expiresAt: 0,
  version: 0,
};

/** One id of a read, and how far it has come. */
export interface PendingRead<Id, Value> {
  readonly entry: Entry<Id>;
  /** The current generation, once Redis has told it. */
  generation: string | undefined;
  /** What the reader gets, once it is there. */
  loaded: LoadedValue<Value> | undefined;
}

/** The i-th value of a batch that is being loaded. */
export const pick = async <Value>(
  batch: Promise<readonly LoadedValue<Value>[]>,
  i: number,
): Promise<LoadedValue<Value>> => (await batch)[i] ?? NOT_LOADED;
