/** The live keys of an entity that cannot be named from its id alone. */
export interface KeyIndex {
  readonly key: string;
  /** What comes beyond that removes the keys that would end first. */
  readonly maxEntries: number;
}

/** Where one value lives: everything it touches in Redis. */
export interface EntryKeys {
  /** The entity's id; on a cluster all keys of one entity share a hash slot. */
  readonly entityId: string;
  /** The key of the value. */
  readonly key: string;
  /** The generation keys of the value's tags, in the order of the resource's declaration. */
  readonly generations: readonly string[];
  readonly index: KeyIndex | undefined;
  /** How large the value is expected to be, in bytes: as it was last seen, or as others of its kind. */
  bytes: number;
}

/** What Redis holds for one value: the stored bytes, and the generations joined by dots if all of them exist. */
export interface Stored {
  readonly raw: string | null;
  readonly generation: string | undefined;
}

/** A lock that lets one process load a batch of missing values for all. */
export interface Lock {
  readonly key: string;
  /** What it holds while it is the one that was taken. */
  readonly holds: string;
}

/** The outcome of a claim: the generation to fill under, and whether this process is the one to load. */
export interface Claim {
  readonly generation: string;
  readonly mine: boolean;
  /** Shared by all values that were claimed together. */
  readonly lock: Lock;
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
  /** Whether the envelope holds a value; otherwise it says that there is none. */
  readonly exists: boolean;
}

/** A value that was read by a writer after its commit, which may take the place of the stored one. */
export interface Replacement {
  /** The new generation, under which the envelope is written. */
  readonly token: string;
  readonly envelope: string;
  readonly ttlMs: number;
  readonly version: number;
}

/** Keys to remove, for one entity. */
export interface Removal {
  readonly keys: readonly string[];
  readonly indexes: readonly KeyIndex[];
}

/**
 * What the protocol asks of Redis. The property tests put a model in its place, whose steps they can order. All of it
 * fails with CacheUnavailableError if Redis cannot be used now.
 */
export interface CacheStore {
  /** Reads values together with their generations. The result is aligned with `entries`. */
  read(entries: readonly EntryKeys[]): Promise<Stored[]>;
  /**
   * Reads generations. The result is aligned with `keys`; null where there is none.
   * @param onSend called just before the request is sent, or fails: who comes later has to ask again.
   */
  readGenerations(keys: readonly string[], onSend: () => void): Promise<(string | null)[]>;
  /**
   * Claims the load of missing values. The result is aligned with `entries`; undefined where nothing can be claimed,
   * because a cluster is moving the keys.
   * @param token becomes the generation of whatever has none
   */
  claim(entries: readonly EntryKeys[], token: string): Promise<(Claim | undefined)[]>;
  /** Stores loaded values whose generations are still current. */
  fill(fills: readonly Fill[]): Promise<void>;
  /** Frees locks of loads that have failed. */
  release(locks: readonly Lock[]): Promise<void>;
  /**
   * Replaces a stored value under a new generation. `others`, and what `indexes` list, depend on the same tag.
   * @param removals what other tags outdate, to be removed in the same round trip
   */
  replace(
    entry: EntryKeys,
    others: readonly string[],
    newer: Replacement,
    indexes?: readonly KeyIndex[],
    removals?: readonly Removal[],
  ): Promise<void>;
  /** The heads of stored values, long enough to hold their snapshots; null where there is none. Aligned with `keys`. */
  readHeads(keys: readonly string[]): Promise<(string | null)[]>;
  /** The keys that indexes list. Aligned with `indexes`. */
  readIndexes(indexes: readonly KeyIndex[]): Promise<string[][]>;
  /**
   * Removes generations, values and everything their indexes list. Removing a generation invalidates as surely as
   * replacing it (the next reader makes a new random one), costs no memory, and is allowed in a Redis that is full.
   * @param whileOpen also tries while the circuit is open (recovery), up to the first failure.
   */
  remove(removals: readonly Removal[], operation: 'invalidate' | 'sweep', whileOpen?: boolean): Promise<void>;
}
