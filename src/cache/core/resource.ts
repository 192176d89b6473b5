import { entityPlaceholder, type KeyParams } from './keys.js';
import type { ShapeOf } from './shape.js';
import type { SnapshotText } from './snapshot.js';
import type { Tag, TagFamily } from './tags.js';

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
interface Description<Id, Value> {
  /** Its Redis key, such as `bot:{id}:details`: the first placeholder is the id of the entity that it is about. */
  readonly key: string;
  /** What a value depends on: it is outdated when any of these tags of its entity is invalidated. */
  readonly tags: readonly TagFamily[];
  /**
   * How many keys of one entity are kept at most, if there can be many (the pages of a list). They are listed in an index,
   * so that they can be removed without searching the keyspace.
   */
  readonly maxKeys?: number;
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

/** A description whose key can be written for any id. */
export interface Cacheable<Id, Value> extends Description<Id, Value> {
  /** The parameters of the key. */
  readonly params: (id: Id) => KeyParams;
}

/** A {@link Cacheable} with the name that it has in metrics and logs. */
export interface Resource<Id, Value> extends Cacheable<Id, Value> {
  readonly name: string;
}

/**
 * Describes a cached thing. An id that is a string is the only parameter of the key; for any other id, `params` gives the
 * parameters.
 */
export function cached<Value, Id = string>(
  description: Description<Id, Value> &
    (Id extends string
      ? { readonly params?: (id: Id) => KeyParams }
      : { readonly params: (id: Id) => KeyParams }),
): Cacheable<Id, Value> {
  const entity = entityPlaceholder(description.key);
  return { params: (id) => ({ [entity]: String(id) }), ...description };
}

/** The id of the entity that a value is about. */
export const entityIdOf = <Id>(
  { key, params }: Pick<Cacheable<Id, unknown>, 'key' | 'params'>,
  id: Id,
): string => String(params(id)[entityPlaceholder(key)]);

type Bound<Described> =
  Described extends Cacheable<infer Id, infer Value> ? CachedResource<Id, Value> : never;

/** What is read through the cache, by the names of the descriptions. */
export type BoundResources<Described> = { readonly [Name in keyof Described]: Bound<Described[Name]> };

/** Binds descriptions to a cache, each under its name. */
export function bindAll<Described extends Readonly<Record<string, object>>>(
  bind: <Id, Value>(resource: Resource<Id, Value>) => CachedResource<Id, Value>,
  descriptions: Described,
): BoundResources<Described> {
  const bound = Object.entries(descriptions).map(([name, description]) => [
    name,
    bind({ ...(description as Cacheable<unknown, unknown>), name }),
  ]);
  return Object.fromEntries(bound) as BoundResources<Described>;
}

/** What vouches for one value that was read. */
export interface Dependency {
  /** The tokens of its generations, joined by dots. */
  readonly generation: string;
  readonly snapshot: SnapshotText;
  /** When the value's TTL ends (ms since 1970). */
  readonly expiresAt: number;
}

/** Is told what vouches for the values that are read for one response. */
export interface ReadDependencies {
  /** A value was read that depends on these tags. `generationKeys` is aligned with the tokens of its generation. */
  add(tags: readonly Tag[], generationKeys: readonly string[], dependency: Dependency): void;
  /** Something was read that no generation vouches for. */
  markUncacheable(): void;
}

/** Reads one kind of cached thing. */
export interface CachedResource<Id, Value> {
  readonly name: string;
  /**
   * The values of distinct ids, aligned; null where there is no row. One Redis round trip if all are cached.
   * @param dependencies is told what vouches for the values.
   */
  readMany(ids: readonly Id[], dependencies?: ReadDependencies): Promise<(Value | null)[]>;
  /**
   * Invalidates the tags of a value, but puts a newer one in its place where it was cached: for values that change so
   * often that they would never be found. The value must have been read, with its version, after the write committed.
   * One round trip; never fails, as the invalidation itself.
   * @param others further tags to invalidate, in the same round trip
   */
  replace(id: Id, newer: Snapshotted<Value>, others?: readonly Tag[]): Promise<void>;
}
