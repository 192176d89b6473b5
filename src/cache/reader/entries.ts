import { LRUCache } from 'lru-cache';

import type { Entry } from './loaded-value.js';
import type { EntryKeys, KeyIndex } from '../redis/cache-store.js';
import type { KeyOf, KeySpace } from '../core/keys.js';
import { entityIdOf, type Resource, type ValueLife } from '../core/resource.js';
import type { ValueKeys } from './value-keys.js';

/** The assumed size of the first value of a resource, in bytes. */
const INITIAL_BYTES = 512;

/** Derives the key names of a resource's ids, and remembers them. */
export class Entries<Id> {
  private readonly entries: LRUCache<string, Entry<Id>>;
  private readonly generationsOf: readonly KeyOf<{ id: string }>[];
  private readonly entityIdOf: (id: Id) => string;
  private readonly indexOf: ((entityId: string) => KeyIndex) | undefined;
  /** The size of the largest value seen so far, in bytes: the assumed size of an unknown value. */
  private largestBytes = INITIAL_BYTES;

  constructor(
    private readonly resource: Pick<Resource<Id, unknown>, 'name' | 'key' | 'params' | 'tags' | 'maxKeys'>,
    private readonly valueKeys: ValueKeys<Id>,
    keys: KeySpace,
    /** How many ids are remembered. */
    maxEntries: number,
    private readonly refreshSoon: (entry: Entry<Id>, life: ValueLife) => boolean,
    private readonly onReads: (count: number) => void,
  ) {
    const { name, tags, maxKeys } = resource;
    this.entries = new LRUCache({ max: maxEntries });
    this.entityIdOf = entityIdOf(resource);
    this.generationsOf = tags.map(({ entity, facet }) => keys.generation(entity, facet));
    if (maxKeys === undefined) return;
    const indexKey = keys.index(tags[0]?.entity ?? name);
    this.indexOf = (id) => ({ key: indexKey({ id }), maxEntries: maxKeys });
  }

  of(asked: Id): Entry<Id> {
    const askedKey = this.valueKeys.of(asked);
    const known = this.entries.get(askedKey);
    if (known) return known;
    const [id, key] = [copyOf(asked), copyOf(askedKey)];
    const entityId = this.entityIdOf(id);
    const entry: Entry<Id> = {
      id,
      wasRead: false,
      reads: 0,
      tags: this.resource.tags.map((family) => family.of(entityId)),
      keys: {
        entityId,
        key,
        generations: this.generationsOf.map((generation) => generation({ id: entityId })),
        index: this.indexOf?.(entityId),
        bytes: this.largestBytes,
      },
      refreshSoon: (life) => this.refreshSoon(entry, life),
      noteReads: (count) => {
        entry.reads += count;
        this.onReads(count);
      },
    };
    this.entries.set(key, entry);
    return entry;
  }

  /** Calls back for every entry that was read since the last call, with how often. */
  takeReads(each: (entry: Entry<Id>, reads: number) => void): void {
    for (const entry of this.entries.values()) {
      if (entry.reads === 0) continue;
      each(entry, entry.reads);
      entry.reads = 0;
    }
  }

  /** Remembers the size of a value, in bytes. */
  noteBytes(keys: EntryKeys, bytes: number): void {
    keys.bytes = bytes;
    if (bytes > this.largestBytes) this.largestBytes = bytes;
  }
}

/** A copy to remember: a substring of a document keeps the whole document in memory. */
const copyOf = <Id>(id: Id): Id =>
  typeof id === 'string'
    ? (Buffer.from(id, 'utf16le').toString('utf16le') as Id & string)
    : structuredClone(id);
