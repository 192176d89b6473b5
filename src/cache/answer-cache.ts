import { LRUCache } from 'lru-cache';

import { CacheUnavailableError } from './errors.js';
import type { Freshness } from './invalidation-log.js';
import type { CacheObserver } from './observer.js';
import type { ReadTrace } from './read-trace.js';
import type { CacheStore } from './redis-store.js';
import type { SnapshotText } from './snapshot.js';
import type { Tag } from './tags.js';

/** The largest answer worth keeping, in characters. */
const LONGEST_ANSWER = 1024 * 1024;
const RESOURCE = 'answer';
/** What V8 takes for a kept answer, and for each generation and snapshot of it: measured, and rounded up. */
const ANSWER_BYTES = 500;
const GENERATION_BYTES = 600;
const SNAPSHOT_BYTES = 350;

/** What is given again, and what has to be checked before; made when it is first needed, which for many is never. */
interface Repeatable {
  readonly body: Buffer;
  readonly generationKeys: readonly string[];
  readonly generations: readonly string[];
  readonly snapshots: readonly (readonly [SnapshotText, readonly Tag[]])[];
}

interface KeptAnswer {
  readonly text: string;
  readonly trace: ReadTrace;
  repeatable: Repeatable | undefined;
  /** The revision of the invalidation log at which the snapshots were last found good. */
  acceptedAt: number;
  /** The check under way, for readers that came before it was sent. */
  checking: Promise<boolean> | undefined;
}

/**
 * Whole answers, in this process's memory, each with the generations and snapshots of every value it was built from.
 *
 * An answer is given again only if, asked of Redis for this very request, all of those generations are still current,
 * and the invalidation log accepts all of the snapshots: under just the conditions under which each of its values would
 * be a hit. So it saves the work of putting the answer together, and decides nothing about freshness itself. The
 * caller's identity belongs in the key; their memberships are among the values.
 */
export class AnswerCache {
  private readonly answers: LRUCache<string, KeptAnswer>;

  constructor(
    private readonly parts: {
      readonly store: Pick<CacheStore, 'readGenerations'>;
      readonly freshness: Freshness;
      readonly observer: CacheObserver;
      /** The most bytes to keep, keys included. */
      readonly mostBytes: number;
    },
  ) {
    this.answers = new LRUCache({
      maxSize: parts.mostBytes,
      sizeCalculation: ({ text, trace }, key) =>
        ANSWER_BYTES +
        // What is made of it when it is used takes as much again.
        2 * text.length +
        key.length +
        trace.generations.size * GENERATION_BYTES +
        trace.snapshots.size * SNAPSHOT_BYTES,
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
    if (kept.trace.expiresAt <= Date.now()) {
      this.answers.delete(key);
      observer.miss(RESOURCE, 'outdated');
      return undefined;
    }
    let isCurrent: boolean;
    try {
      isCurrent = await (kept.checking ?? this.check(kept));
    } catch (error) {
      if (!(error instanceof CacheUnavailableError)) throw error;
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
  keep(key: string, body: string, trace: ReadTrace): void {
    if (!trace.isRepeatable || body.length > LONGEST_ANSWER) return;
    this.answers.set(key, {
      text: body,
      trace,
      repeatable: undefined,
      acceptedAt: -1,
      checking: undefined,
    });
  }

  /** Asks Redis whether the generations are current. Shared until it is sent: who comes later must ask anew. */
  private check(kept: KeptAnswer): Promise<boolean> {
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

  private accepts(kept: KeptAnswer): boolean {
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

function repeatableOf(kept: KeptAnswer): Repeatable {
  const { text, trace } = kept;
  return (kept.repeatable ??= {
    body: Buffer.from(text),
    generationKeys: [...trace.generations.keys()],
    generations: [...trace.generations.values()],
    snapshots: [...trace.snapshots].map(([snapshot, tags]) => [snapshot, [...tags]] as const),
  });
}
