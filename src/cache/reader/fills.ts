import type { Logger } from '../core/logger.js';

import { encodeEnvelope, type Envelope } from '../core/envelope.js';
import { CacheUnavailableError } from '../core/errors.js';
import { freshGeneration } from '../core/fresh-generation.js';
import type { Invalidator } from '../invalidation/invalidator.js';
import type { Tag } from '../core/tags.js';
import { NOT_LOADED, type Entry, type LoadedValue, type PendingRead } from './loaded-value.js';
import type { CacheObserver } from '../core/observer.js';
import type { CacheStore, Claim, Fill } from '../redis/cache-store.js';
import { MAX_VALUE_BYTES } from '../redis/pieces.js';

/** A missing value and its claim. */
export interface ClaimedRead<Id, Value> {
  readonly read: PendingRead<Id, Value>;
  readonly claim: Claim;
}

/** Writes the values of one cached thing into Redis. */
export class Fills<Id, Value> {
  constructor(
    private readonly parts: {
      readonly resource: { readonly name: string };
      /** The digest of the shape of the values. */
      readonly shape: string;
      readonly store: CacheStore;
      readonly invalidator: Invalidator;
      readonly observer: CacheObserver;
      readonly log: Logger;
      /** Is told how many values were sent to be stored, and how long it took (ms). */
      readonly onStored: (count: number, ms: number) => void;
    },
  ) {}

  /** Stores the values that were loaded for claims. The arrays are aligned. Never fails. */
  async fill(
    claimed: readonly ClaimedRead<Id, Value>[],
    loaded: readonly LoadedValue<Value>[],
  ): Promise<void> {
    const { store, observer, resource, onStored } = this.parts;
    const now = Date.now();
    const startedAt = performance.now();
    const fills = claimed.map(({ read, claim }, i): Fill => {
      const { value, snapshot, expiresAt, version } = loaded[i] ?? NOT_LOADED;
      const { generation, lock } = claim;
      const envelope = this.envelope({ generation, snapshot, expiresAt, version, value });
      return {
        keys: read.entry.keys,
        generation,
        lock,
        envelope,
        bytes: Buffer.byteLength(envelope),
        ttlMs: Math.max(1, expiresAt - now),
        exists: value !== null,
      };
    });
    const storable = fills.filter(({ bytes }) => bytes <= MAX_VALUE_BYTES);
    try {
      if (storable.length > 0) {
        const { stored, outdated } = await store.fill(storable);
        onStored(storable.length, performance.now() - startedAt);
        observer.filled(resource.name, stored, outdated);
      }
      if (storable.length === fills.length) return;
      this.noteTooLarge(fills.length - storable.length);
      // A fill frees its lock. Free the other locks, because readers would wait for values that are not stored.
      const freed = new Set(storable.map(({ lock }) => lock));
      const held = new Set(fills.map(({ lock }) => lock).filter((lock) => !freed.has(lock)));
      if (held.size > 0) await store.release([...held]);
    } catch (error) {
      this.logUnlessUnavailable(error, 'Could not store loaded values');
    }
  }

  /**
   * Frees the locks of claims whose load failed, so that the next reader need not wait for them to expire. Never
   * fails.
   */
  async release(claimed: readonly ClaimedRead<Id, Value>[]): Promise<void> {
    try {
      await this.parts.store.release([...new Set(claimed.map(({ claim }) => claim.lock))]);
    } catch (error) {
      this.logUnlessUnavailable(error, 'Could not free the locks of a failed load');
    }
  }

  /**
   * Invalidates the tags of a value, and replaces the stored value by the newer one if possible. Never fails.
   * @param newer the value as read after the write
   * @param further tags to invalidate, in the same round trip
   */
  async replace(
    { keys, tags }: Entry<Id>,
    newer: LoadedValue<Value>,
    further: readonly Tag[],
  ): Promise<void> {
    const { invalidator, store, observer, resource } = this.parts;
    const { value, snapshot, version, expiresAt } = newer;
    const [tag] = tags;
    const allTags = [...tags, ...further];
    if (tag === undefined || tags.length > 1 || version === 0 || value === null)
      return await invalidator.invalidate(allTags);
    const token = freshGeneration();
    const envelope = this.envelope({ generation: token, snapshot, expiresAt, version, value });
    if (Buffer.byteLength(envelope) > MAX_VALUE_BYTES) {
      this.noteTooLarge(1);
      return await invalidator.invalidate(allTags);
    }
    const { values, indexes } = invalidator.targetsOf(tag);
    const others = values.filter((key) => key !== keys.key);
    const ttlMs = Math.max(1, expiresAt - Date.now());
    const replacement = { token, envelope, ttlMs, version, snapshot };
    const removals = invalidator.removalsOf(further);
    const replacing = store.replace(keys, others, replacement, indexes, removals);
    await invalidator.orKeepPending(
      allTags,
      replacing.then((outcome) => observer.replaced(resource.name, outcome)),
    );
  }

  private envelope(envelope: Omit<Envelope<Value>, 'shape'>): string {
    return encodeEnvelope({ ...envelope, shape: this.parts.shape });
  }

  private noteTooLarge(count: number): void {
    const { observer, log, resource } = this.parts;
    observer.tooLarge(resource.name, count);
    log.debug({ resource: resource.name, count }, 'Values are too large to be stored');
  }

  private logUnlessUnavailable(error: unknown, message: string): void {
    if (error instanceof CacheUnavailableError) return;
    this.parts.log.error({ err: error, resource: this.parts.resource.name }, message);
  }
}
