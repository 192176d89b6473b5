import type { GenerationText } from '../core/generation.js';
import type { Replaced } from '../core/observer.js';
import type { SnapshotText } from '../core/snapshot.js';

/** An index that lists the live keys of an entity, for keys that the id alone does not give. */
export interface KeyIndex {
  readonly key: string;
  /** If the index has more entries, the keys that would expire first are removed. */
  readonly maxEntries: number;
}

/** All keys of one value in Redis. */
export interface EntryKeys {
  /** The entity's id; on a cluster all keys of one entity share a hash slot. */
  readonly entityId: string;
  /** The key of the value. */
  readonly key: string;
  /** The generation keys of the value's tags, in the order of the resource's declaration. */
  readonly generations: readonly string[];
  readonly index: KeyIndex | undefined;
  /** The expected size of the value, in bytes: its last known size, or that of other values of the resource. */
  bytes: number;
}

/** What Redis holds for one value: the stored bytes, and the generations joined by dots if all of them exist. */
export interface Stored {
  readonly raw: string | null;
  readonly generation: GenerationText | undefined;
  /** The ids of transactions that changed everything, joined by commas. */
  readonly everything: string;
}

/** What Redis holds of generations. */
export interface CurrentGenerations {
  /** Aligned with the keys; null where there is none. */
  readonly generations: readonly (GenerationText | null)[];
  /** As in {@link Stored}. */
  readonly everything: string;
}

/** Transactions of one epoch, by what they changed. */
export interface LoggedWrites {
  /** The epoch of the transactions, with its `@`. */
  readonly epoch: string;
  /** The transactions that changed a tag, with the key of its generation. */
  readonly ofTags: readonly { readonly key: string; readonly xids: readonly number[] }[];
  readonly ofEverything: readonly number[];
}

/** A lock that lets one process load a batch of missing values for all processes. */
export interface Lock {
  readonly key: string;
  /** The content of the lock's key while it belongs to its claim. */
  readonly holds: string;
}

/** The outcome of a claim: the generation to fill under, and whether this process may load. */
export interface Claim {
  readonly generation: string;
  readonly mine: boolean;
  /** All values that were claimed together share it. */
  readonly lock: Lock;
}

/** The outcome of a read of values that were probably missing. */
export interface ReadOrClaimed {
  readonly stored: readonly Stored[];
  /** Undefined if a value was found, or nothing could be claimed. */
  readonly claims: readonly (Claim | undefined)[] | undefined;
}

/** A loaded value on its way into Redis. */
export interface Fill {
  readonly keys: EntryKeys;
  readonly generation: string;
  readonly lock: Lock;
  readonly envelope: string;
  /** The length of the envelope. */
  readonly bytes: number;
  readonly ttlMs: number;
  /** Whether the envelope holds a value; if not, it records that there is no row. */
  readonly exists: boolean;
}

/** How many loaded values were stored, and how many were refused because their generations have changed. */
export interface FillOutcome {
  readonly stored: number;
  readonly outdated: number;
}

/** A value that a writer read after its commit, to replace the stored one. */
export interface Replacement {
  /** The new generation of the envelope. */
  readonly token: string;
  readonly envelope: string;
  readonly ttlMs: number;
  readonly version: number;
  /** The snapshot under which the value was read. */
  readonly snapshot: SnapshotText;
}

/** Keys to remove, for one entity. */
export interface Removal {
  readonly keys: readonly string[];
  readonly indexes: readonly KeyIndex[];
}

/**
 * The Redis operations of the protocol. Property tests replace them by a model whose steps they order. Every method
 * throws CacheUnavailableError if Redis cannot be used now.
 */
export interface CacheStore {
  /** Reads values together with their generations. The result is aligned with `entries`. */
  read(entries: readonly EntryKeys[]): Promise<Stored[]>;
  /**
   * Reads generations.
   * @param onSend called just before the request is sent or fails: later callers must send their own request
   */
  readGenerations(keys: readonly string[], onSend: () => void): Promise<CurrentGenerations>;
  /**
   * Reads values that are probably missing. If all are, it also claims their load, in the same round trip where that is
   * possible; the claims are aligned with `entries`.
   * @param token as for {@link claim}
   */
  readOrClaim(entries: readonly EntryKeys[], token: string): Promise<ReadOrClaimed>;
  /**
   * Claims the load of missing values. The result is aligned with `entries`; undefined where nothing can be claimed,
   * because a cluster is moving the keys.
   * @param token becomes the generation of each tag that has none
   */
  claim(entries: readonly EntryKeys[], token: string): Promise<(Claim | undefined)[]>;
  /** Stores loaded values whose generations are still current. */
  fill(fills: readonly Fill[]): Promise<FillOutcome>;
  /** Frees the locks of loads that failed. */
  release(locks: readonly Lock[]): Promise<void>;
  /**
   * Replaces a stored value under a new generation. `others`, and the keys that `indexes` list, depend on the same
   * tag.
   * @param removals the keys that other tags outdate, to be removed in the same round trip
   */
  replace(
    entry: EntryKeys,
    others: readonly string[],
    newer: Replacement,
    indexes?: readonly KeyIndex[],
    removals?: readonly Removal[],
  ): Promise<Replaced>;
  /**
   * Adds transactions to the generations of the tags that they changed: values that have not seen them are outdated.
   * @param whileOpen as in {@link remove}
   */
  addWrites(writes: LoggedWrites, whileOpen?: boolean): Promise<void>;
  /** The heads of stored values, long enough to hold their snapshots; null where there is none. Aligned with `keys`. */
  readHeads(keys: readonly string[]): Promise<(string | null)[]>;
  /** The keys that indexes list. Aligned with `indexes`. */
  readIndexes(indexes: readonly KeyIndex[]): Promise<string[][]>;
  /**
   * Removes generations, values and all keys that their indexes list. Removing a generation invalidates as reliably
   * as replacing it (the next reader makes a new random one), uses no memory, and is allowed in a Redis that is full.
   * @param whileOpen also tries while the circuit is open (recovery), up to the first failure.
   */
  remove(removals: readonly Removal[], operation: 'invalidate' | 'sweep', whileOpen?: boolean): Promise<void>;
}
