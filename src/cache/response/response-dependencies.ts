import type { Dependency, ReadDependencies } from '../core/resource.js';
import type { CacheReport } from './cache-report.js';
import { isHelped, type HelpedMoment } from '../invalidation/helping.js';

/**
 * Collects the values that are read for one response. A cached response may be returned exactly as long as each of
 * these values could be.
 */
export class ResponseDependencies implements ReadDependencies {
  readonly reads: Dependency[] = [];
  /** When the first of the values expires, and when the first is to be loaded again (ms since 1970). */
  expiresAt = Infinity;
  refreshAt = Infinity;
  isSeldomReadAgain = false;
  private isQuery = false;
  private hasErrors = false;
  private isUncacheable = false;
  private isSettled = true;

  /**
   * @param since up to where all writes were invalidated when the response was begun
   * @param report lists the values, if it was asked for
   */
  constructor(
    readonly since: HelpedMoment,
    private readonly report?: Pick<CacheReport, 'onRead' | 'restart'>,
  ) {}

  get onRead(): CacheReport['onRead'] | undefined {
    return this.report?.onRead;
  }

  add(dependency: Dependency): void {
    const { generation, snapshot, expiresAt, refreshAt } = dependency;
    this.reads.push(dependency);
    if (generation === undefined) this.isUncacheable = true;
    if (expiresAt < this.expiresAt) this.expiresAt = expiresAt;
    if (refreshAt < this.refreshAt) this.refreshAt = refreshAt;
    if (this.isSettled && !isHelped(snapshot, this.since)) this.isSettled = false;
  }

  /** Forgets the values that were read, because the response is made from the beginning. */
  restart(): void {
    this.reads.length = 0;
    this.report?.restart();
    this.expiresAt = Infinity;
    this.refreshAt = Infinity;
    this.isSeldomReadAgain = false;
    this.isUncacheable = false;
    this.isSettled = true;
  }

  /** Marks the response as the result of a query, which may be executed again, and may be cached if it has no errors. */
  complete({ hasErrors }: { readonly hasErrors: boolean } = { hasErrors: false }): void {
    this.isQuery = true;
    this.hasErrors = hasErrors;
  }

  /** Records that something was read that no dependency covers: the response must not be cached. */
  markUncacheable(): void {
    this.isUncacheable = true;
  }

  /** Whether the response may be cached: it is complete, and every value that was read for it has generations. */
  get isCacheable(): boolean {
    return this.isQuery && !this.hasErrors && !this.isUncacheable && this.reads.length > 0;
  }

  /**
   * Whether nothing need be checked to know that the values are of one moment. A single value is. So are values that
   * have only seen writes which were invalidated before the response was begun: each of them was current then,
   * because it was still current when it was read.
   */
  get isOneMoment(): boolean {
    return !this.isQuery || this.reads.length <= 1 || this.isSettled;
  }
}
