import { CacheUnavailableError } from '../core/errors.js';
import type { KeySpace } from '../core/keys.js';
import type { Logger } from '../core/logger.js';
import type { CachedResource } from '../core/resource.js';
import type { StoredValues } from '../inspection/stored-values.js';
import type { RedisClient } from '../redis/redis-client.js';
import { MostRead, type ReadCount } from './most-read.js';

/** The maximum number of values that are loaded together. */
const MAX_BATCH = 50;

/** What a warming did. */
export interface Warmed {
  /** Values that were looked at. */
  readonly known: number;
  /** Values that were missing, and have been loaded and stored. */
  readonly loaded: number;
}

/** Values of one resource to be warmed. */
export interface Wanted {
  readonly resource: string;
  readonly ids: readonly unknown[];
}

export interface WarmOptions {
  /** No batch begins later than this (ms); no limit by default. */
  readonly maxMs?: number;
  /** What to load if nothing is remembered. */
  readonly otherwise?: () => Promise<readonly Wanted[]>;
  /** Is told how many values will be looked at. */
  readonly onStart?: (count: number) => void;
  /** Is told how many more values were looked at. */
  readonly onBatch?: (count: number) => void;
}

type Warmable = Pick<CachedResource<never, unknown>, 'name' | 'warm' | 'takeReads'>;

/** Loads missing values before they are asked for: one batch after the other, each as one statement. */
export class Warming {
  private readonly resources = new Map<string, Warmable>();
  private readonly mostRead: MostRead;

  constructor(
    private readonly parts: {
      readonly client: RedisClient;
      readonly keys: KeySpace;
      /** Whether Redis can be used now. */
      readonly isAvailable: () => boolean;
      readonly values: Pick<StoredValues, 'identify'>;
      readonly log: Logger;
    },
  ) {
    this.mostRead = new MostRead({ ...parts, takeCounts: (limit) => this.takeCounts(limit) });
  }

  register(resource: Warmable): void {
    this.resources.set(resource.name, resource);
  }

  /** Begins to remember what is read most. */
  start(): void {
    this.mostRead.start();
  }

  /** Notes what was read most until now: the next process is asked for it first. */
  async stop(): Promise<void> {
    this.mostRead.stop();
    await this.mostRead.note();
  }

  /**
   * Loads those values that were read most before, on any process, and that Redis does not have. Never fails: what
   * cannot be loaded is loaded when it is asked for.
   */
  async warm({ maxMs = Infinity, otherwise, onStart, onBatch }: WarmOptions = {}): Promise<Warmed> {
    const endAt = performance.now() + maxMs;
    if (!this.parts.isAvailable()) return { known: 0, loaded: 0 };
    const remembered = this.wantedOf(await this.mostRead.read());
    const wanted = remembered.length > 0 ? remembered : await this.orElse(otherwise);
    onStart?.(wanted.reduce((sum, { ids }) => sum + ids.length, 0));
    let [known, loaded] = [0, 0];
    for (const { resource, ids } of wanted) {
      for (let start = 0; start < ids.length && performance.now() < endAt; start += MAX_BATCH) {
        const batch = ids.slice(start, start + MAX_BATCH);
        known += batch.length;
        loaded += await this.load(resource, batch as never[]);
        onBatch?.(batch.length);
      }
    }
    return { known, loaded };
  }

  /** Sorts keys by what they are of. Unknown ones, which other releases may have noted, are left out. */
  private wantedOf(keys: readonly string[]): Wanted[] {
    const byResource = new Map<string, unknown[]>();
    for (const key of keys) {
      const { resource, id } = this.parts.values.identify(key) ?? {};
      if (resource === undefined || id === undefined) continue;
      byResource.set(resource, [...(byResource.get(resource) ?? []), id]);
    }
    return [...byResource].map(([resource, ids]) => ({ resource, ids }));
  }

  private async orElse(otherwise: WarmOptions['otherwise']): Promise<readonly Wanted[]> {
    try {
      return (await otherwise?.()) ?? [];
    } catch (error) {
      this.logFailure(error);
      return [];
    }
  }

  private async load(resource: string, ids: readonly never[]): Promise<number> {
    try {
      return (await this.resources.get(resource)?.warm?.(ids)) ?? 0;
    } catch (error) {
      this.logFailure(error);
      return 0;
    }
  }

  private logFailure(error: unknown): void {
    if (error instanceof CacheUnavailableError) return;
    this.parts.log.warn({ err: error }, 'Could not load values before they are asked for');
  }

  /** How often each value was read since the last call, of those that were read most. */
  private takeCounts(limit: number): ReadCount[] {
    const counts: ReadCount[] = [];
    for (const resource of this.resources.values())
      resource.takeReads?.((key, reads) => counts.push({ key, reads }));
    return counts.toSorted((a, b) => b.reads - a.reads).slice(0, limit);
  }
}
