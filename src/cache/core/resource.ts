import { entityPlaceholder, type KeyParams } from './keys.js';
import type { GenerationText } from './generation.js';
import type { MomentText } from './moment.js';
import type { ReportedRead } from './read-report.js';
import type { ShapeOf } from './shape.js';
import type { SnapshotText } from './snapshot.js';
import type { Tag, TagFamily } from './tags.js';

/** A value as loaded from the database, and the snapshot of the load. */
export interface Snapshotted<Value> {
  /** null: there is no such row. */
  readonly value: Value | null;
  /** The result of the SQL function `cache_moment(since)`, in the statement that read the value. */
  readonly snapshot: MomentText;
  /** Grows with every change of the value; {@link CachedResource.replace} needs it. */
  readonly version?: number;
}

/**
 * Describes one cached resource for reading, filling and invalidation.
 *
 * Values are JSON: the result of {@link load} must survive a JSON round trip. Nobody may change a value that was
 * read, because readers of one process can share it.
 */
interface Description<Id, Value> {
  /**
   * The Redis key, such as `bot:{id}:details`. The first placeholder is the id of the entity that the value belongs
   * to.
   */
  readonly key: string;
  /** The tags that a value depends on: invalidating any of them outdates the value. */
  readonly tags: readonly TagFamily[];
  /**
   * The maximum number of keys of one entity, if there can be many (the pages of a list). An index lists them, so
   * that they can be removed without searching the keyspace.
   */
  readonly maxKeys?: number;
  /**
   * Whether a value is seldom read again (the page of a search text). Such a value is stored only when this process is
   * asked for it a second time: claiming and storing it costs as much as loading it does. The same holds for the values
   * that a response shows beside it, if they are new to this process.
   */
  readonly seldomReadAgain?: (id: Id) => boolean;
  /** The fields of a value. If two releases differ in it, each ignores the values of the other. */
  readonly shape: ShapeOf<Value>;
  /** Fields that tell when the value was made: two loads of one state differ in them. At any depth. */
  readonly timesOfLoad?: readonly string[];
  /** Fields that operators must not read, at any depth: texts of users. */
  readonly privateFields?: readonly string[];
  /** TTL in seconds, before jitter. */
  readonly ttlSeconds: number;
  /**
   * Reads from the primary database, outside any writing transaction, each value and its snapshot in one statement.
   * Returns the values aligned with the ids.
   * @param since the argument of `cache_moment`, whose result is the `snapshot` of each value
   * @throws any error of the database; nothing is cached then.
   */
  readonly load: (ids: readonly Id[], since: SnapshotText) => Promise<readonly Snapshotted<Value>[]>;
}

/** A description whose key can be written for any id. */
export interface Cacheable<Id, Value> extends Description<Id, Value> {
  /** The parameters of the key. */
  readonly params: (id: Id) => KeyParams;
  /** The id of a key's parameters; undefined if they do not tell. A verification needs it to load the value. */
  readonly idOf?: ((params: Readonly<Record<string, string>>) => Id | undefined) | undefined;
}

/** A {@link Cacheable} with its name in metrics and logs. */
export interface Resource<Id, Value> extends Cacheable<Id, Value> {
  readonly name: string;
}

/** The part of a description that reads without the cache need. */
export type UncachedResource<Id, Value> = Pick<
  Resource<Id, Value>,
  'name' | 'key' | 'params' | 'tags' | 'load'
>;

/**
 * Describes a cached resource. A string id is the only parameter of the key; for any other id, `params` returns the
 * parameters, and `idOf` the id.
 */
export function cached<Value, Id = string>(
  description: Description<Id, Value> &
    Pick<Cacheable<Id, Value>, 'idOf'> &
    (Id extends string
      ? { readonly params?: (id: Id) => KeyParams }
      : { readonly params: (id: Id) => KeyParams }),
): Cacheable<Id, Value> {
  const entity = entityPlaceholder(description.key);
  const isId = description.params === undefined;
  return {
    params: (id) => ({ [entity]: String(id) }),
    ...(isId ? { idOf: (params) => params[entity] as Id | undefined } : {}),
    ...description,
  };
}

/** Returns the id of the entity that a value belongs to, by the value's id. */
export function entityIdOf<Id>({ key, params }: Pick<Cacheable<Id, unknown>, 'key' | 'params'>) {
  const entity = entityPlaceholder(key);
  return (id: Id): string => String(params(id)[entity]);
}

type Bound<Described> =
  Described extends Cacheable<infer Id, infer Value> ? CachedResource<Id, Value> : never;

/** The resources of a cache, by the names of their descriptions. */
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

/** How those who show a value without reading it again, cached responses, tell its reader of it. */
export interface ValueUsage {
  /** Has the value loaded again before it expires, if that is soon. Returns whether it is. */
  refreshSoon(life: ValueLife): boolean;
  /** Counts reads that showed the value without reading it. */
  noteReads(count: number): void;
}

/** When a value ends (ms since 1970). */
export interface ValueLife {
  /** The end of the value's TTL. */
  readonly expiresAt: number;
  /** From then on, a value that is read often is loaded again; Infinity: it is left to expire. */
  readonly refreshAt: number;
}

/** A value that was read, and the conditions under which it is current. */
export interface Dependency extends ValueLife {
  /** The name of the resource, and the value's key. */
  readonly resource: string;
  readonly key: string;
  readonly tags: readonly Tag[];
  /** The keys of the tags' generations. */
  readonly generationKeys: readonly string[];
  /** The generations under which the value was loaded, joined by dots; undefined if Redis was not used. */
  readonly generation: GenerationText | undefined;
  readonly snapshot: SnapshotText;
  /** Undefined if the value is not cached. */
  readonly usage: ValueUsage | undefined;
}

/** Collects the values that are read for one response. */
export interface ReadDependencies {
  add(dependency: Dependency): void;
  /** Whether the response shows a value that is seldom read again, and was not stored. The cache sets it. */
  isSeldomReadAgain: boolean;
  /** Is told how each value was read, if somebody wants to know. */
  readonly onRead?: ((id: unknown, read: ReportedRead) => void) | undefined;
}

/** What was decided about the values of a resource, see `CachingPolicy`. */
export interface CachingDecision {
  /** Whether values are stored; if not, only a sample of them is. */
  readonly stores: boolean;
  /** Whether values that are read often are loaded again before they expire. */
  readonly refreshes: boolean;
  /** How many reads each stored value answered lately; Infinity before that is known. */
  readonly reuse: number;
}

/** Reads and replaces the values of one resource. */
export interface CachedResource<Id, Value> {
  readonly name: string;
  /** What is decided now. */
  readonly policy?: CachingDecision;
  /**
   * Returns the values of distinct ids, aligned; null where there is no row. One Redis round trip if all are cached.
   * @param dependencies collects the dependencies of the values
   */
  readMany(ids: readonly Id[], dependencies?: ReadDependencies): Promise<(Value | null)[]>;
  /**
   * A value as this process last read it from Redis, however old: only to guess what will be read.
   * Undefined if there is none.
   */
  lastSeen?(id: Id): Value | undefined;
  /**
   * Loads values and stores them, whatever is cached, unless another process is just loading them. Returns how many were
   * loaded.
   * @throws any error of the database, CacheUnavailableError
   */
  refresh?(ids: readonly Id[]): Promise<number>;
  /**
   * Loads and stores those values that are missing, unless another process is just loading them. Returns how many were
   * loaded.
   * @throws as {@link refresh}
   */
  warm?(ids: readonly Id[]): Promise<number>;
  /**
   * Calls back with each key that was read since the last call, and how often, except those that are not worth warming.
   */
  takeReads?(each: (key: string, reads: number) => void): void;
  /**
   * Invalidates the tags of a value. If the value was cached, stores the newer one in its place: a value that changes
   * very often would otherwise never be a hit. The caller must have read the newer value, with its version, after the
   * write committed. What the newer value shows is helped first: two round trips; never fails.
   * @param others further tags to invalidate, in the same round trip
   */
  replace(id: Id, newer: Snapshotted<Value>, others?: readonly Tag[]): Promise<void>;
}
