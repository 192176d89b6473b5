import type { Tag } from '../core/tags.js';
import type { Invalidator } from '../invalidation/invalidator.js';
import type { CacheStore } from '../redis/cache-store.js';
import { inTime } from '../redis/in-time.js';
import type { RedisClient } from '../redis/redis-client.js';
import { unlessOtherType } from '../redis/redis-refusal.js';
import { countKeys, scanKeys } from './key-scan.js';
import type { StoredState, StoredValue, StoredValues } from './stored-values.js';

/** A tag, and its generation in Redis. */
export interface InspectedTag {
  readonly tag: Tag;
  readonly generationKey: string;
  /** null: there is none, so no value of the tag is current. */
  readonly generation: string | null;
  readonly ttlMs: number | null;
}

/** A stored value, as operators see it. */
export interface InspectedValue {
  readonly key: string;
  readonly resource: string;
  readonly bytes: number;
  readonly ttlMs: number | null;
  readonly state: StoredState;
  /** Undefined if it cannot be read. */
  readonly value: unknown;
}

/** What Redis holds of tags. */
export interface InspectedEntity {
  readonly tags: readonly InspectedTag[];
  readonly values: readonly InspectedValue[];
}

/** The keys of one kind. */
export interface KindOfKeys {
  readonly kind: string;
  keys: number;
  bytes: number;
  /** Keys that never expire. */
  withoutTtl: number;
}

export interface InspectionParts {
  readonly client: RedisClient;
  readonly store: Pick<CacheStore, 'readIndexes'>;
  readonly values: StoredValues;
  readonly invalidator: Pick<Invalidator, 'targetsOf' | 'generationKeyOf'>;
  readonly prefix: string;
}

/** What private fields are shown as. */
const HIDDEN = '…';

/** Shows operators what is in Redis. It changes nothing. */
export class Inspection {
  constructor(private readonly parts: InspectionParts) {}

  /** Everything that depends on tags. @throws CacheUnavailableError */
  async inspect(tags: readonly Tag[]): Promise<InspectedEntity> {
    const { invalidator, store } = this.parts;
    const targets = tags.map((tag) => invalidator.targetsOf(tag));
    const indexes = targets.flatMap((target) => target.indexes);
    const listed = await store.readIndexes(indexes);
    const keys = new Set([...targets.flatMap(({ values }) => values), ...listed.flat()]);
    return { tags: await this.readTags(tags), values: await this.readValues([...keys]) };
  }

  /** The value of one key; undefined if there is none. @throws CacheUnavailableError */
  async inspectKey(key: string): Promise<InspectedValue | undefined> {
    return (await this.readValues([key]))[0];
  }

  /** All keys of this cache, in pieces. */
  scan(): AsyncGenerator<string[]> {
    return scanKeys(this.parts.client, this.parts.prefix);
  }

  /** The number of keys in Redis: at least as many as {@link scan} finds. */
  async countKeys(): Promise<number> {
    return await countKeys(this.parts.client);
  }

  /** Counts keys by their kinds. */
  async count(keys: readonly string[], kinds: Map<string, KindOfKeys>): Promise<void> {
    const { client, values } = this.parts;
    const sizes = await Promise.all(
      keys.map(async (key) => await Promise.all([client.strlen(key).catch(() => 0), client.pttl(key)])),
    );
    keys.forEach((key, i) => {
      const [bytes = 0, ttlMs = -2] = sizes[i] ?? [];
      // It has expired meanwhile.
      if (ttlMs === -2) return;
      const kind = values.identify(key)?.resource ?? kindOf(key);
      const counted = kinds.get(kind) ?? { kind, keys: 0, bytes: 0, withoutTtl: 0 };
      kinds.set(kind, counted);
      counted.keys += 1;
      counted.bytes += bytes;
      if (ttlMs === -1) counted.withoutTtl += 1;
    });
  }

  private async readTags(tags: readonly Tag[]): Promise<InspectedTag[]> {
    const { client, invalidator } = this.parts;
    const found = await Promise.all(
      tags.map(async (tag) => {
        const generationKey = invalidator.generationKeyOf(tag);
        if (generationKey === undefined) return [];
        const [generation, ttlMs] = await inTime(
          Promise.all([unlessOtherType(client.get(generationKey), null), client.pttl(generationKey)]),
        );
        return [{ tag, generationKey, generation, ttlMs: ttlMs < 0 ? null : ttlMs }];
      }),
    );
    return found.flat();
  }

  private async readValues(keys: readonly string[]): Promise<InspectedValue[]> {
    const { client, values } = this.parts;
    const stored = await values.read(keys);
    return await Promise.all(
      stored.map(async (each) => {
        const { key, resource, raw, state } = each;
        const ttlMs = await inTime(client.pttl(key));
        const bytes = Buffer.byteLength(raw);
        return { key, resource, bytes, ttlMs: ttlMs < 0 ? null : ttlMs, state, value: this.shown(each) };
      }),
    );
  }

  private shown({ resource, value }: StoredValue): unknown {
    const { privateFields = [] } = this.parts.values.describe(resource);
    if (value === undefined || privateFields.length === 0) return value;
    const hide = (field: string, text: unknown) => (privateFields.includes(field) ? HIDDEN : text);
    return JSON.parse(JSON.stringify(value, hide)) as unknown;
  }
}

/** The kind of a key that is no value's, by its end. */
function kindOf(key: string): string {
  if (key.endsWith(':gen')) return 'generations';
  if (key.endsWith(':lock')) return 'locks';
  if (key.endsWith(':index')) return 'indexes';
  return 'others';
}
