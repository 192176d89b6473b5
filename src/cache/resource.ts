import type { KeySpace } from './redis/keys.js';
import type { ResponseDependencies } from './response/response-dependencies.js';
import type { ShapeOf } from './shape.js';
import type { SnapshotText } from './invalidation/snapshot.js';
import type { TagFamily } from './invalidation/tags.js';

/** A value as the database had it, and the snapshot under which it was read. */
export interface Snapshotted<Value> {
  /** null: there is no such row. */
  readonly value: Value | null;
  readonly snapshot: SnapshotText;
  /** Grows with every change of the value; needed where the value is to be replaced instead of dropped. */
  readonly version?: number;
}

/**
 * The description of one cached thing, which reading, filling and invalidating share.
 *
 * Values are JSON: what {@link load} returns must survive a round trip through it, and nobody may change a value that
 * was read, because readers of one process can share it.
 */
export interface Resource<Id, Value> {
  /** Names it in metrics and logs. */
  readonly name: string;
  /** Its Redis key; see {@link KeySpace}. */
  readonly key: (keys: KeySpace) => (id: Id) => string;
  /** The id of the entity that the key and all tags are about. It is the value's own id, unless it is {@link indexed}. */
  readonly entityId: (id: Id) => string;
  /** What a value depends on: it is outdated when any of these tags of its entity is invalidated. */
  readonly dependsOn: readonly TagFamily[];
  /**
   * How many keys an index of their entity lists at most, if they are listed in one. Needed where an entity has keys that cannot be named from its
   * id alone (list pages), so that they can be removed without searching the keyspace.
   */
  readonly indexed?: number;
  /** The fields of a value. Two releases that differ in it leave each other's values alone. */
  readonly shape: ShapeOf<Value>;
  /** Life in seconds, before jitter. */
  readonly ttlSeconds: number;
  /**
   * Reads from the primary database, outside any writing transaction, each value and its snapshot in one statement.
   * Aligned with the ids.
   * @throws whatever the database throws; nothing is cached then.
   */
  readonly load: (ids: readonly Id[]) => Promise<readonly Snapshotted<Value>[]>;
}

/** Reads one kind of cached thing. */
export interface CachedResource<Id, Value> {
  readonly name: string;
  /**
   * The values of distinct ids, aligned; null where there is no row. One Redis round trip if all are cached.
   * @param dependencies is told what vouches for the values.
   */
  readMany(ids: readonly Id[], dependencies?: ResponseDependencies): Promise<(Value | null)[]>;
  /**
   * Invalidates the tags of a value, but puts a newer one in its place where it was cached: for values that change so
   * often that they would never be found. The value must have been read, with its version, after the write committed.
   * One round trip; never fails, as the invalidation itself.
   */
  replace(id: Id, newer: Snapshotted<Value>): Promise<void>;
}
