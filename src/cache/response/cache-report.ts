import type { Dependency } from '../core/resource.js';
import type { ReportedRead } from '../core/read-report.js';
import type { MissReason } from '../core/observer.js';

/** The maximum number of values that a report lists. */
const MAX_READS = 1_000;

/** What a report says of the response as a whole. Times are in seconds. */
type ResponseOutcome =
  | { readonly outcome: 'hit'; readonly age: number; readonly ttl: number }
  | { readonly outcome: 'miss'; readonly reason: MissReason }
  | { readonly outcome: 'unused' };

/** A response that was found in the response cache. */
export interface ReportedResponse {
  readonly reads: readonly Dependency[];
  /** When it was made, and when the first of its values expires (ms since 1970). */
  readonly madeAt: number;
  readonly expiresAt: number;
}

const seconds = (ms: number): number => Math.round(ms) / 1_000;

/** Tells where each value of one response came from, for the people who operate the server. */
export class CacheReport {
  private response: ResponseOutcome = { outcome: 'unused' };
  private found: ReportedResponse | undefined;
  /** The paths of the fields that asked for a value, by its resource and id. */
  private readonly paths = new Map<string, string[]>();
  private reads: { readonly asked: string; readonly read: ReportedRead }[] = [];

  /** Records that a field asked for a value. */
  asked(resource: string, id: unknown, path: string): void {
    const key = askedKey(resource, id);
    const paths = this.paths.get(key) ?? [];
    paths.push(path);
    this.paths.set(key, paths);
  }

  /** Records how a value was read. */
  readonly onRead = (id: unknown, read: ReportedRead): void => {
    this.reads.push({ asked: askedKey(read.resource, id), read });
  };

  /** Records that the response cache has no response that may be returned. */
  readonly onMiss = (reason: MissReason): void => {
    this.response = { outcome: 'miss', reason };
  };

  /** Records that the response is a cached one. */
  readonly onHit = (found: ReportedResponse): void => {
    const now = Date.now();
    const { madeAt, expiresAt } = found;
    this.response = { outcome: 'hit', age: seconds(now - madeAt), ttl: seconds(expiresAt - now) };
    this.found = found;
  };

  /** Forgets what was read, because the operation is executed from the beginning. */
  restart(): void {
    this.paths.clear();
    this.reads = [];
  }

  /** The report, with times in seconds and `ms` in ms. Values that no field asked for have the path null. */
  toJSON(): object {
    const all = this.found ? this.cachedReads(this.found) : this.reportedReads();
    const reads = all.slice(0, MAX_READS);
    return {
      response: this.response,
      reads,
      ...(all.length > MAX_READS ? { omitted: all.length - MAX_READS } : {}),
    };
  }

  private reportedReads(): object[] {
    return this.reads.flatMap(({ asked, read }) => {
      const { resource, key, outcome, missed, tags, ageMs, ttlMs, ms } = read;
      return (this.paths.get(asked) ?? [null]).map((path) => ({
        path,
        resource,
        key,
        outcome,
        ...(missed === undefined ? {} : { missed }),
        age: seconds(ageMs),
        ttl: seconds(ttlMs),
        tags,
        ms: Math.round(ms * 1_000) / 1_000,
      }));
    });
  }

  private cachedReads({ reads }: ReportedResponse): object[] {
    const now = Date.now();
    return reads.map(({ resource, key, tags, expiresAt }) => ({
      path: null,
      resource,
      key,
      outcome: 'cached response',
      ttl: seconds(expiresAt - now),
      tags,
    }));
  }
}

const askedKey = (resource: string, id: unknown): string => `${resource} ${JSON.stringify(id)}`;
