import type { GenerationText } from '../core/generation.js';
import type { ValueLife, ValueUsage } from '../core/resource.js';
import type { EntryKeys } from '../redis/cache-store.js';
import type { SnapshotText } from '../core/snapshot.js';
import type { MissReason } from '../core/observer.js';
import type { ReadOutcome } from '../core/read-report.js';
import type { Tag } from '../core/tags.js';

/** A requested id, and the keys derived from it. */
export interface Entry<Id> extends ValueUsage {
  readonly id: Id;
  readonly keys: EntryKeys;
  readonly tags: readonly Tag[];
  /** How often this process has read the value since it was last counted. */
  reads: number;
  /** Whether this process has looked the value up before. If not, it is probably missing. */
  wasRead: boolean;
}

/** A value, and the conditions under which it is current. */
export interface LoadedValue<Value> extends ValueLife {
  readonly value: Value | null;
  readonly snapshot: SnapshotText;
  /** The generations it was read under; undefined if Redis was unavailable. */
  readonly generation: GenerationText | undefined;
  readonly version: number;
  /** How often this process has found these stored bytes. */
  uses: number;
}

/** Placeholder for an id for which the loader returned nothing; never cached. */
export const NOT_LOADED: LoadedValue<never> = {
  value: null,
  snapshot: '',
  generation: undefined,
  expiresAt: 0,
  refreshAt: Infinity,
  version: 0,
  uses: 0,
};

/** The progress of a read, for one id. */
export interface PendingRead<Id, Value> {
  readonly entry: Entry<Id>;
  /** The current generations, once Redis has returned them. */
  generation: GenerationText | undefined;
  /** The transactions that changed everything, as Redis listed them. */
  everything: string;
  /** Whether the value is returned without being stored, see `seldomReadAgain`. */
  readonly passes: boolean;
  /** Why the value was no hit; undefined if it was one. */
  missed: MissReason | undefined;
  /** How the value was got, see `ReadOutcome`. */
  outcome: ReadOutcome;
  /** The value for the reader, once it is available. */
  loaded: LoadedValue<Value> | undefined;
}

/** The i-th value of a batch that is being loaded. */
export const pick = async <Value>(
  batch: Promise<readonly LoadedValue<Value>[]>,
  i: number,
): Promise<LoadedValue<Value>> => (await batch)[i] ?? NOT_LOADED;
