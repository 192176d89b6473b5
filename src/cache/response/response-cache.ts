import { LRUCache } from 'lru-cache';

import { rethrowUnlessUnavailable } from '../core/errors.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { CacheObserver, MissReason } from '../core/observer.js';
import type { Dependency } from '../core/resource.js';
import type { ReportedResponse } from './cache-report.js';
import { areCurrent, generationKeysOf } from './current-reads.js';
import type { ResponseDependencies } from './response-dependencies.js';
import { MIN_USES } from '../reader/refresh-ahead.js';
import type { CacheStore, CurrentGenerations } from '../redis/cache-store.js';

/** The maximum size of a cached response, in characters. */
const MAX_RESPONSE_CHARACTERS = 1024 * 1024;
const RESOURCE = 'response';
/** Memory of a cached response, and of each value that it was built from, in bytes: measured, and rounded up. */
const RESPONSE_BYTES = 500;
const READ_BYTES = 600;

/** A cached response that may be returned. */
export interface FoundResponse {
  readonly body: Buffer;
  /** When it was made (ms since 1970). */
  readonly madeAt: number;
  /** The text that the caller gave the response, see {@link ResponseCache.keep}. */
  readonly label: string;
}

/** The body and the checks of a cached response, made at its first hit: many responses have none. */
interface Repeatable {
  readonly body: Buffer;
  readonly generationKeys: readonly string[];
  /** What Redis held when the response was last found to be current. */
  current: CurrentGenerations | undefined;
}

/** Is told what the response cache found. */
export interface ResponseReport {
  onHit(found: ReportedResponse): void;
  onMiss(reason: MissReason): void;
}

interface CachedResponse {
  readonly text: string;
  readonly label: string;
  readonly reads: readonly Dependency[];
  /** When the response was made, and when the first of its values expires (ms since 1970). */
  readonly madeAt: number;
  readonly expiresAt: number;
  /** When the next of its values is to be loaded again, if the response is used often (ms since 1970). */
  refreshAt: number;
  uses: number;
  repeatable: Repeatable | undefined;
  /** The revision of the invalidation log at which the snapshots were last accepted. */
  acceptedAt: number;
  /** The check under way, for readers that arrived before it was sent. */
  checking: Promise<boolean> | undefined;
}

/**
 * Whole responses, in this process's memory, each with the generations and snapshots of every value it was built
 * from.
 *
 * A cached response is returned only if Redis says, for this very request, that all of those generations are still
 * current, and if the invalidation log accepts all of the snapshots. Under the same conditions each of its values
 * would be a hit. So the response cache saves the work of building the response, and decides nothing about freshness
 * itself. The caller's identity belongs in the key; the caller's memberships are among the values.
 */
export class ResponseCache {
  private readonly responses: LRUCache<string, CachedResponse>;

  constructor(
    private readonly parts: {
      readonly store: Pick<CacheStore, 'readGenerations'>;
      readonly freshness: Freshness;
      readonly observer: CacheObserver;
      /** The maximum size in bytes, keys included. */
      readonly maxBytes: number;
    },
  ) {
    this.responses = new LRUCache({
      maxSize: parts.maxBytes,
      dispose: ({ reads, uses }) => {
        if (uses > 0) for (const { usage } of reads) usage?.noteReads(uses);
      },
      sizeCalculation: ({ text, reads }, key) =>
        RESPONSE_BYTES +
        // The body that is made at the first hit takes as much again.
        2 * text.length +
        key.length +
        reads.length * READ_BYTES,
    });
  }

  /** The number of cached responses. */
  get size(): number {
    return this.responses.size;
  }

  /** The estimated memory of the cached responses, keys included, in bytes. */
  get bytes(): number {
    return this.responses.calculatedSize;
  }

  /**
   * The cached response of a key, if it may be returned. One round trip to Redis. Never fails.
   * @param report is told what was found
   */
  async find(key: string, report?: ResponseReport): Promise<FoundResponse | undefined> {
    const cached = this.responses.get(key);
    if (!cached) return this.miss('absent', report);
    const now = Date.now();
    if (cached.expiresAt <= now) {
      this.responses.delete(key);
      return this.miss('outdated', report);
    }
    let isCurrent: boolean;
    try {
      isCurrent = await (cached.checking ?? this.check(cached));
    } catch (error) {
      rethrowUnlessUnavailable(error);
      return this.miss('unavailable', report);
    }
    if (!isCurrent) {
      if (this.responses.peek(key) === cached) this.responses.delete(key);
      return this.miss('outdated', report);
    }
    if (!this.accepts(cached)) return this.miss('distrusted', report);
    this.parts.observer.hit(RESOURCE);
    report?.onHit(cached);
    cached.uses += 1;
    if (cached.refreshAt <= now && cached.uses >= MIN_USES) refreshSoon(cached);
    return { body: repeatableOf(cached).body, madeAt: cached.madeAt, label: cached.label };
  }

  private miss(reason: MissReason, report: ResponseReport | undefined): undefined {
    this.parts.observer.miss(RESOURCE, reason);
    report?.onMiss(reason);
  }

  /**
   * Caches a response that was found to be of one moment, if every value that was read for it has generations.
   * @param label one of few texts, by which metrics and logs tell responses apart
   */
  keep(key: string, body: string, dependencies: ResponseDependencies, label = ''): void {
    if (!dependencies.isCacheable || body.length > MAX_RESPONSE_CHARACTERS) return;
    this.responses.set(key, {
      text: body,
      label,
      reads: dependencies.reads,
      madeAt: Date.now(),
      expiresAt: dependencies.expiresAt,
      refreshAt: dependencies.refreshAt,
      uses: 0,
      repeatable: undefined,
      acceptedAt: -1,
      checking: undefined,
    });
  }

  /** Asks Redis whether the generations are current. Callers share the check until it is sent; later ones ask again. */
  private check(cached: CachedResponse): Promise<boolean> {
    let isSent = false;
    const repeatable = repeatableOf(cached);
    const { generationKeys } = repeatable;
    const checking = this.parts.store
      .readGenerations(generationKeys, () => {
        isSent = true;
        cached.checking = undefined;
      })
      .then((current) => {
        if (isSame(repeatable.current, current)) return true;
        if (!areCurrent(cached.reads, generationKeys, current)) return false;
        repeatable.current = current;
        return true;
      });
    if (!isSent) cached.checking = checking;
    return checking;
  }

  private accepts(cached: CachedResponse): boolean {
    const { freshness } = this.parts;
    if (!freshness.isCurrent) return false;
    const { revision } = freshness;
    if (cached.acceptedAt === revision) return true;
    if (!cached.reads.every(({ tags, snapshot }) => freshness.accepts(tags, snapshot))) return false;
    cached.acceptedAt = revision;
    return true;
  }
}

/** Has the values loaded again that are near their end: the response is built from them when it expires. */
function refreshSoon(cached: CachedResponse): void {
  cached.refreshAt = Infinity;
  for (const read of cached.reads) {
    const isNear = read.usage?.refreshSoon(read) === true;
    if (!isNear && read.refreshAt < cached.refreshAt) cached.refreshAt = read.refreshAt;
  }
}

function repeatableOf(cached: CachedResponse): Repeatable {
  return (cached.repeatable ??= {
    body: Buffer.from(cached.text),
    generationKeys: generationKeysOf(cached.reads),
    current: undefined,
  });
}

const isSame = (known: CurrentGenerations | undefined, current: CurrentGenerations): boolean =>
  known !== undefined &&
  known.everything === current.everything &&
  known.generations.every((generation, i) => generation === current.generations[i]);
