import { rethrowUnlessUnavailable } from '../core/errors.js';
import type { Dependency } from '../core/resource.js';
import type { CacheObserver } from '../core/observer.js';
import { isHelped, type Helping } from '../invalidation/helping.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { CacheStore } from '../redis/cache-store.js';
import { areCurrent, generationKeysOf } from './current-reads.js';
import type { ResponseDependencies } from './response-dependencies.js';

/** Finds out, after a response was made, whether all its values were current at one moment. */
export class MomentCheck {
  constructor(
    private readonly parts: {
      readonly store: Pick<CacheStore, 'readGenerations'> | undefined;
      readonly freshness: Freshness;
      readonly helping: Pick<Helping, 'helped' | 'confirm'>;
      readonly observer: CacheObserver;
    },
  ) {}

  /** Begins a response. */
  get since() {
    return this.parts.helping.helped;
  }

  /**
   * Whether the values of a response are of one moment. At most one round trip to Redis, and none if nothing was
   * written lately. Never fails.
   */
  holds(dependencies: ResponseDependencies): boolean | Promise<boolean> {
    return dependencies.isOneMoment || this.isQuiet(dependencies) || this.ask(dependencies);
  }

  /** Nothing was written since the response was begun that any of its values has seen. */
  private isQuiet({ since, reads }: ResponseDependencies): boolean {
    const { helped } = this.parts.helping;
    return helped.batches === since.batches && reads.every(({ snapshot }) => isHelped(snapshot, helped));
  }

  private async ask(dependencies: ResponseDependencies): Promise<boolean> {
    const holds = (await this.areCurrentInRedis(dependencies)) ?? (await this.areCurrentInLog(dependencies));
    this.parts.observer.momentChecked(holds);
    return holds;
  }

  /** All values are current at the moment of this check; undefined if Redis cannot tell. */
  private async areCurrentInRedis({ reads }: ResponseDependencies): Promise<boolean | undefined> {
    const { store } = this.parts;
    if (!store || reads.some(({ generation }) => generation === undefined)) return undefined;
    const keys = generationKeysOf(reads);
    try {
      const current = await store.readGenerations(keys, () => {});
      if (!areCurrent(reads, keys, current)) return false;
    } catch (error) {
      rethrowUnlessUnavailable(error);
      return undefined;
    }
    return this.logAccepts(reads);
  }

  /** All values are current at the moment up to which this process knows the log. */
  private async areCurrentInLog({ reads }: ResponseDependencies): Promise<boolean> {
    const { helping } = this.parts;
    if (!reads.every(({ snapshot }) => isHelped(snapshot, helping.helped))) await helping.confirm();
    return this.logAccepts(reads);
  }

  /** A process that cannot read the log shows what the database has returned: to execute again would not help. */
  private logAccepts(reads: readonly Dependency[]): boolean {
    const { freshness } = this.parts;
    return !freshness.isCurrent || reads.every(({ tags, snapshot }) => freshness.accepts(tags, snapshot));
  }
}
