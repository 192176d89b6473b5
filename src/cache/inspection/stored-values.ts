import { openEnvelope, readEnvelopeData } from '../core/envelope.js';
import { hasSeenEach, isOfGenerations } from '../core/generation.js';
import type { KeySpace } from '../core/keys.js';
import type { Resource } from '../core/resource.js';
import { digestOfShape, isOfShape } from '../core/shape.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { CacheStore, EntryKeys, Stored } from '../redis/cache-store.js';

/** What becomes of a stored value when a reader finds it. */
export type StoredState =
  /** It is a hit. */
  | 'current'
  /** A write has outdated it: it is a miss. */
  | 'outdated'
  /** A generation of its tags is gone: nothing makes it current again. */
  | 'orphaned'
  /** Its bytes are no envelope, or its data is not of the resource's shape. */
  | 'damaged'
  /** Another release of the server reads it. */
  | 'of another release';

/** A value as Redis holds it. */
export interface StoredValue {
  readonly key: string;
  readonly resource: string;
  /** The value's id; undefined if the key does not tell. */
  readonly id: unknown;
  readonly raw: string;
  readonly state: StoredState;
  /** Undefined if it is damaged, or of another release. */
  readonly value: unknown;
}

/** A bound resource, and how to find its values. */
interface Kind {
  readonly resource: Resource<unknown, unknown>;
  readonly matches: RegExp;
  readonly shape: string;
}

/** A key of a value, and what it says. */
interface ValueKey {
  readonly key: string;
  readonly kind: Kind;
  readonly params: Readonly<Record<string, string>>;
}

/** Reads values by their keys, and judges them as a reader of the cache would. */
export class StoredValues {
  private readonly kinds: Kind[] = [];

  constructor(
    private readonly parts: {
      readonly store: Pick<CacheStore, 'read'>;
      readonly keys: KeySpace;
      readonly freshness: Pick<Freshness, 'accepts'>;
    },
  ) {}

  /** Adds a resource, whose values can be read from now on. */
  register<Id, Value>(resource: Resource<Id, Value>): void {
    this.kinds.push({
      resource: resource as unknown as Resource<unknown, unknown>,
      matches: this.parts.keys.matcher(resource.key),
      shape: digestOfShape(resource.shape),
    });
  }

  /** The resource and the id of a value's key; undefined if it is no value's. */
  identify(key: string): { readonly resource: string; readonly id: unknown } | undefined {
    const parsed = this.parse(key);
    if (!parsed) return undefined;
    const { resource } = parsed.kind;
    const { shape: _shape, ...own } = parsed.params;
    return { resource: resource.name, id: resource.idOf?.(own) };
  }

  /** The description of a resource. @throws if there is none */
  describe(name: string): Resource<unknown, unknown> {
    const kind = this.kinds.find(({ resource }) => resource.name === name);
    if (!kind) throw new Error(`There is no resource ${name}`);
    return kind.resource;
  }

  /**
   * Reads the values of those keys that have one, each together with its generations.
   * @throws CacheUnavailableError
   */
  async read(keys: readonly string[]): Promise<StoredValue[]> {
    const known = keys.map((key) => this.parse(key)).filter((each) => each !== undefined);
    if (known.length === 0) return [];
    const stored = await this.parts.store.read(known.map((each) => this.entryOf(each)));
    return known.flatMap((each, i) => this.judge(each, stored[i]));
  }

  private parse(key: string): ValueKey | undefined {
    for (const kind of this.kinds) {
      const params = kind.matches.exec(key)?.groups;
      if (params) return { key, kind, params };
    }
    return undefined;
  }

  private entryOf({ key, kind, params }: ValueKey): EntryKeys {
    const { keys } = this.parts;
    const id = Object.values(params)[0] ?? '';
    const generations = kind.resource.tags.map(({ entity, facet }) => keys.generation(entity, facet)({ id }));
    return { entityId: id, key, generations, index: undefined, bytes: 0 };
  }

  private judge({ key, kind, params }: ValueKey, stored: Stored | undefined): StoredValue[] {
    const { raw } = stored ?? {};
    if (stored === undefined || raw === null || raw === undefined) return [];
    const { resource } = kind;
    const { shape: foreign, ...own } = params;
    const found = { key, resource: resource.name, id: resource.idOf?.(own), raw };
    const head = openEnvelope(raw);
    if (!head) return [{ ...found, state: 'damaged', value: undefined }];
    if (head.shape !== kind.shape || (foreign !== undefined && foreign !== kind.shape))
      return [{ ...found, state: 'of another release', value: undefined }];
    const value = readEnvelopeData<unknown>(raw, head.dataStart);
    if (value === undefined || (value !== null && !isOfShape(value, resource.shape)))
      return [{ ...found, state: 'damaged', value: undefined }];
    const { generation, everything } = stored;
    if (generation === undefined) return [{ ...found, state: 'orphaned', value }];
    const tags = resource.tags.map((family) => family.of(Object.values(own)[0] ?? ''));
    const isCurrent =
      isOfGenerations(head.generation, generation, head.snapshot) &&
      hasSeenEach(everything, head.snapshot) &&
      this.parts.freshness.accepts(tags, head.snapshot);
    return [{ ...found, state: isCurrent ? 'current' : 'outdated', value }];
  }
}
