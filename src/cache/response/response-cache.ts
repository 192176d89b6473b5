import { LRUCache } from 'lru-cache';

import { rethrowUnlessUnavailable } from '../core/errors.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { CacheObserver } from '../core/observer.js';
import type { ResponseDependencies } from './response-dependencies.js';
import type { CacheStore } from '../redis/cache-store.js';
import type { SnapshotText } from '../core/snapshot.js';
import type { Tag } from '../core/tags.js';

/** The largest answer worth keeping, in characters. */
const MAX_RESPONSE_CHARACTERS = 1024 * 1024;
const RESOURCE = 'response';
/** What V8 takes for a cached response, and for each generation and snapshot of it: measured, and rounded up. */
const RESPONSE_BYTES = 500;
const GENERATION_BYTES = 600;
const SNAPSHOT_BYTES = 350;

/** What is given again, and what has to be checked before; made when it is first needed, which for many is never. */
interface Repeatable {
  readonly body: Buffer;
  readonly generationKeys: readonly string[];
  readonly generations: readonly string[];
  readonly snapshots: readonly (readonly [SnapshotText, readonly Tag[]])[];
}

interface CachedResponse {
  readonly text: string;
  readonly dependencies: ResponseDependencies;
  repeatable: Repeatable | undefined;
  /** The revision of the invalidation log at which the snapshots were last found good. */
  acceptedAt: number;
  /** The check under way, for readers that came before it was sent. */
  checking: Promise<boolean> | undefined;
}

/**
 * Whole responses, in this process's memory, each with the generations and snapshots of every value it was built from.
 *
 * An answer is given again only if, asked of Redis for this very request, all of those generations are still current,
 * and the invalidation log accepts all of the snapshots: under just the conditions under which each of its values would
 * be a hit. So it saves the work of putting the answer together, and decides nothing about freshness itself. The
 * caller's identity belongs in the key; their memberships are among the values.
 */
export class ResponseCache {
  private readonly answers: LRUCache<string, CachedResponse>;

  constructor(
    private readonly parts: {
      readonly store: Pick<CacheStore, 'readGenerations'>;
      readonly freshness: Freshness;
      readonly observer: CacheObserver;
      /** The most bytes to keep, keys included. */
      readonly maxBytes: number;
    },
  ) {
    this.answers = new LRUCache({
      maxSize: parts.maxBytes,
      sizeCalculation: ({ text, dependencies }, key) =>
        RESPONSE_BYTES +
        // What is made of it when it is used takes as much again.
        2 * text.length +
        key.length +
        dependencies.generations.size * GENERATION_BYTES +
        dependencies.snapshots.size * SNAPSHOT_BYTES,
    });
  }

  /** How many answers are kept. */
  get size(): number {
    return this.answers.size;
  }

  /** The answer kept under a key, if it may be given again. One round trip to Redis. Never fails. */
  async find(key: string): Promise<Buffer | undefined> {
    const { observer } = this.parts;
    const kept = this.answers.get(key);
    if (!kept) {
      observer.miss(RESOURCE, 'absent');
      return undefined;
    }
    if (kept.dependencies.expiresAt <= Date.now()) {
      this.answers.delete(key);
      observer.miss(RESOURCE, 'outdated');
      return undefined;
    }
    let isCurrent: boolean;
    try {
      isCurrent = await (kept.checking ?? this.check(kept));
    } catch (error) {
      rethrowUnlessUnavailable(error);
      observer.miss(RESOURCE, 'unavailable');
      return undefined;
    }
    if (!isCurrent) {
      if (this.answers.peek(key) === kept) this.answers.delete(key);
      observer.miss(RESOURCE, 'outdated');
      return undefined;
    }
    if (!this.accepts(kept)) {
      observer.miss(RESOURCE, 'distrusted');
      return undefined;
    }
    observer.hit(RESOURCE);
    return repeatableOf(kept).body;
  }

  /** Keeps an answer, if everything that was read for it is vouched for. */
  keep(key: string, body: string, dependencies: ResponseDependencies): void {
    if (!dependencies.isCacheable || body.length > MAX_RESPONSE_CHARACTERS) return;
    this.answers.set(key, {
      text: body,
      dependencies,
      repeatable: undefined,
      acceptedAt: -1,
      checking: undefined,
    });
  }

  /** Asks Redis whether the generations are current. Shared until it is sent: who comes later must ask anew. */
  private check(kept: CachedResponse): Promise<boolean> {
    let isSent = false;
    const { generationKeys, generations } = repeatableOf(kept);
    const checking = this.parts.store
      .readGenerations(generationKeys, () => {
        isSent = true;
        kept.checking = undefined;
      })
      .then((current) => generations.every((generation, i) => generation === current[i]));
    if (!isSent) kept.checking = checking;
    return checking;
  }

  private accepts(kept: CachedResponse): boolean {
    const { freshness } = this.parts;
    if (!freshness.isCurrent) return false;
    const { revision } = freshness;
    if (kept.acceptedAt === revision) return true;
    if (!repeatableOf(kept).snapshots.every(([snapshot, tags]) => freshness.accepts(tags, snapshot)))
      return false;
    kept.acceptedAt = revision;
    return true;
  }
}

function repeatableOf(kept: CachedResponse): Repeatable {
  const { text, dependencies } = kept;
  return (kept.repeatable ??= {
    body: Buffer.from(text),
    generationKeys: [...dependencies.generations.keys()],
    generations: [...dependencies.generations.values()],
    snapshots: [...dependencies.snapshots].map(([snapshot, tags]) => [snapshot, [...tags]] as const),
  });
}
