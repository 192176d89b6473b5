import { isDeepStrictEqual } from 'node:util';

import type { CachedResource, Resource } from '../core/resource.js';
import type { Freshness } from '../invalidation/invalidation-log.js';
import type { StoredValue, StoredValues } from './stored-values.js';

/** The maximum number of values that are compared under one snapshot, which must be short. */
const MAX_VALUES_A_SLICE = 200;
/** The maximum number of findings that are kept; all are counted. */
const MAX_FINDINGS = 100;

/** A stored value that should not be there. */
export interface Finding {
  /**
   * `stale`: a reader would get it, although PostgreSQL has another. `corrupt`: it is no value. `orphaned`: no reader
   * can ever use it.
   */
  readonly problem: 'stale' | 'corrupt' | 'orphaned';
  readonly key: string;
  readonly resource: string;
}

/** What a verification has found so far. */
export interface Verified {
  /** Values that were compared with PostgreSQL. */
  compared: number;
  /** Values that no reader would get, because a write has outdated them. */
  outdated: number;
  /** Values that changed while they were compared. */
  changed: number;
  /** Values whose key does not tell their id, or that another release reads. */
  skipped: number;
  stale: number;
  corrupt: number;
  orphaned: number;
  readonly findings: Finding[];
}

/** Resources that read from the database, by name, all under one snapshot. */
export type DatabaseResources = Readonly<Record<string, Pick<CachedResource<never, unknown>, 'readMany'>>>;

export interface VerificationParts {
  readonly values: Pick<StoredValues, 'read' | 'describe'>;
  readonly freshness: Pick<Freshness, 'confirm'>;
  /** Gives resources that read the database under one snapshot. */
  readonly inOneSnapshot: <Result>(
    work: (resources: DatabaseResources) => Promise<Result>,
  ) => Promise<Result>;
}

/**
 * Compares stored values with PostgreSQL.
 *
 * A value is stale if it is the same before and after PostgreSQL was read, and is still current by everything that was
 * logged before the snapshot: no later write excuses it.
 */
export class Verification {
  readonly verified: Verified = {
    compared: 0,
    outdated: 0,
    changed: 0,
    skipped: 0,
    stale: 0,
    corrupt: 0,
    orphaned: 0,
    findings: [],
  };

  constructor(private readonly parts: VerificationParts) {}

  /**
   * Verifies the values of keys; keys without a value, and those that are no value's, are ignored.
   * @throws CacheUnavailableError, or an error of the database
   */
  async check(keys: readonly string[]): Promise<void> {
    for (let start = 0; start < keys.length; start += MAX_VALUES_A_SLICE)
      await this.checkSlice(keys.slice(start, start + MAX_VALUES_A_SLICE));
  }

  private async checkSlice(keys: readonly string[]): Promise<void> {
    const { values, freshness } = this.parts;
    const { verified } = this;
    const suspects = new Map<string, StoredValue>();
    const current: StoredValue[] = [];
    for (const stored of await values.read(keys)) {
      if (stored.state === 'damaged' || stored.state === 'orphaned') suspects.set(stored.key, stored);
      else if (stored.state === 'outdated') verified.outdated += 1;
      else if (stored.state === 'of another release' || stored.id === undefined) verified.skipped += 1;
      else current.push(stored);
    }
    verified.compared += current.length;
    for (const stored of await this.differing(current)) suspects.set(stored.key, stored);
    if (suspects.size === 0) return;
    await freshness.confirm();
    const again = new Map((await values.read([...suspects.keys()])).map((each) => [each.key, each]));
    for (const suspect of suspects.values()) {
      const now = again.get(suspect.key);
      if (now?.raw === suspect.raw && now.state === suspect.state) this.report(suspect);
      else verified.changed += 1;
    }
  }

  /** The values that differ from those of the database. */
  private async differing(current: readonly StoredValue[]): Promise<StoredValue[]> {
    if (current.length === 0) return [];
    const byResource = new Map<string, StoredValue[]>();
    for (const stored of current)
      byResource.set(stored.resource, [...(byResource.get(stored.resource) ?? []), stored]);
    return await this.parts.inOneSnapshot(async (resources) => {
      const found: StoredValue[] = [];
      for (const [name, stored] of byResource) {
        const ids = stored.map(({ id }) => id as never);
        const loaded = (await resources[name]?.readMany(ids)) ?? [];
        const description = this.parts.values.describe(name);
        found.push(...stored.filter(({ value }, i) => !isSame(description, value, loaded[i] ?? null)));
      }
      return found;
    });
  }

  private report({ state, key, resource }: StoredValue): void {
    const { verified } = this;
    const problem = PROBLEMS[state as keyof typeof PROBLEMS];
    verified[problem] += 1;
    if (verified.findings.length < MAX_FINDINGS) verified.findings.push({ problem, key, resource });
  }
}

/** What it means that a value in this state is there, and stays. */
const PROBLEMS = { current: 'stale', damaged: 'corrupt', orphaned: 'orphaned' } as const;

/** Compares a stored value with a loaded one, except for the times at which they were loaded. */
function isSame(
  { timesOfLoad = [] }: Pick<Resource<unknown, unknown>, 'timesOfLoad'>,
  stored: unknown,
  loaded: unknown,
): boolean {
  const withoutTimes = (field: string, value: unknown) => (timesOfLoad.includes(field) ? undefined : value);
  const comparable = (value: unknown): unknown => JSON.parse(JSON.stringify(value, withoutTimes)) as unknown;
  return isDeepStrictEqual(comparable(stored), comparable(loaded));
}
