import type { Verdict } from './register.js';

/** Through which kind of key or query a value was seen. */
export type View =
  | 'bot'
  | 'page'
  | 'search'
  | 'org'
  | 'details'
  | 'stats'
  | 'page stats'
  | 'messages'
  | 'org stats'
  | 'moment'
  | 'mutation'
  | 'access';

/** A kind of violation. */
export type FindingKind = 'stale' | 'backwards' | 'fractured';

/** How stale a read may be. */
export interface Tolerance {
  /** How long an answered write may stay unseen (ms): 0 without faults. */
  readonly answeredMs: number;
  /** How long an unanswered write may stay unseen (ms): one made by SQL, or one whose answer was lost. */
  readonly committedMs: number;
  /** Whether no read may show an older state than one that ended before it, and each answer must be of one moment. */
  readonly isOneMoment: boolean;
}

/** The guarantee without faults, and with them. */
export const STRICT: Tolerance = { answeredMs: 0, committedMs: 2_000, isOneMoment: true };
export const WITHIN_TWO_SECONDS: Tolerance = {
  answeredMs: 2_000,
  committedMs: 2_000,
  isOneMoment: false,
};

/** The number of values that missed a write, and the longest time for which one was missed. */
interface Misses {
  count: number;
  longestMs: number;
}

const MAX_SAMPLES = 10;

/** The counts and samples of a checked history. */
export class Findings {
  observations = 0;
  requests = 0;
  /** Answers to queries that were checked as a whole. */
  answers = 0;
  /** Observations that missed an answered write. */
  readonly stale: Misses = { count: 0, longestMs: 0 };
  /** Observations that missed a write which was in the database, but which no mutation had answered. */
  readonly late: Misses = { count: 0, longestMs: 0 };
  /** Observations that are older than what an earlier read had shown. */
  readonly backwards: Misses = { count: 0, longestMs: 0 };
  /** Answers that show things at different moments. */
  readonly fractured: Misses = { count: 0, longestMs: 0 };
  /** Observations that missed a write for longer than tolerated. */
  intolerable = 0;
  /** Values that nobody can have written: a bug in the checker or a serious one in the server. */
  impossible = 0;
  /** Values in Redis that were compared with PostgreSQL, and those of them that were stale or corrupt. */
  verified = 0;
  wrongInRedis = 0;
  /** Failed requests that nothing excuses. */
  failures = 0;
  /** Requests that failed because their server was killed or had no database. */
  excused = 0;
  readonly byView = new Map<View, number>();
  readonly samples: string[] = [];
  /** Further lines for the report. */
  readonly notes: string[] = [];

  constructor(readonly tolerance: Tolerance) {}

  count(view: View): void {
    this.observations += 1;
    this.byView.set(view, (this.byView.get(view) ?? 0) + 1);
  }

  /** @param describe describes the read; called only for violations. */
  record(
    { missedAnswered, missedCommitted, missedShown, impossible }: Verdict,
    describe: () => string,
  ): void {
    if (impossible) {
      this.impossible += 1;
      this.sample(`impossible: ${describe()}`);
    }
    if (missedAnswered !== undefined) note(this.stale, missedAnswered);
    if (missedCommitted !== undefined) note(this.late, missedCommitted);
    if (missedShown !== undefined) {
      note(this.backwards, missedShown);
      if (this.tolerance.isOneMoment) this.sample(`back by ${missedShown.toFixed(0)} ms: ${describe()}`);
    }
    const isTolerable =
      (missedAnswered === undefined || isWithin(missedAnswered, this.tolerance.answeredMs)) &&
      (missedCommitted ?? 0) <= this.tolerance.committedMs;
    if (isTolerable) return;
    this.intolerable += 1;
    const ageMs = Math.max(missedAnswered ?? 0, missedCommitted ?? 0);
    this.sample(`stale by ${ageMs.toFixed(0)} ms: ${describe()}`);
  }

  /**
   * An answer to a query was checked as a whole.
   * @param fractures what it shows twice, at different moments
   * @param ageMs for how long the older state had been outdated when the answer arrived
   */
  recordAnswer(fractures: readonly string[], ageMs: number, server: string): void {
    this.answers += 1;
    if (fractures.length === 0) return;
    note(this.fractured, ageMs);
    if (this.tolerance.isOneMoment)
      this.sample(`fractured by ${ageMs.toFixed(0)} ms: ${fractures[0]} through ${server}`);
  }

  /** A value in Redis is stale or corrupt, although readers would get it. */
  recordStored(description: string): void {
    this.wrongInRedis += 1;
    this.sample(`in Redis: ${description}`);
  }

  fail(description: string): void {
    this.failures += 1;
    this.sample(`failed: ${description}`);
  }

  /** Adds the findings of a later part of the same run. */
  add(later: Findings): void {
    this.observations += later.observations;
    this.requests += later.requests;
    this.answers += later.answers;
    this.intolerable += later.intolerable;
    this.impossible += later.impossible;
    this.failures += later.failures;
    this.verified += later.verified;
    this.wrongInRedis += later.wrongInRedis;
    this.excused += later.excused;
    for (const [mine, theirs] of [
      [this.stale, later.stale],
      [this.late, later.late],
      [this.backwards, later.backwards],
      [this.fractured, later.fractured],
    ] as const) {
      mine.count += theirs.count;
      mine.longestMs = Math.max(mine.longestMs, theirs.longestMs);
    }
    for (const [view, count] of later.byView) this.byView.set(view, (this.byView.get(view) ?? 0) + count);
    later.samples.forEach((sample) => this.sample(sample));
    this.notes.push(...later.notes);
  }

  /** How many violations of a kind there are. Reads that are stale for a tolerable time are none. */
  countOf(kind: FindingKind): number {
    return kind === 'stale' ? this.intolerable : this[kind].count;
  }

  /** The violations of the guarantee; empty if it held. */
  get problems(): string[] {
    const { answeredMs, isOneMoment } = this.tolerance;
    const { backwards, fractured } = this;
    return [
      ...(this.intolerable > 0
        ? [`${this.intolerable} observations missed a write for more than ${answeredMs} ms`]
        : []),
      ...(this.impossible > 0 ? [`${this.impossible} observations of values that were never written`] : []),
      ...(isOneMoment && backwards.count > 0
        ? [`${backwards.count} observations older than what an earlier read had shown`]
        : []),
      ...(isOneMoment && fractured.count > 0 ? [`${fractured.count} answers of more than one moment`] : []),
      ...(this.wrongInRedis > 0
        ? [`${this.wrongInRedis} values in Redis that PostgreSQL does not have`]
        : []),
      ...(this.failures > 0 ? [`${this.failures} requests failed`] : []),
    ];
  }

  private sample(text: string): void {
    if (this.samples.length < MAX_SAMPLES) this.samples.push(text);
  }
}

/** A limit of 0 tolerates no stale read at all, not even one with an age of 0 ms. */
const isWithin = (ageMs: number, limitMs: number): boolean => limitMs > 0 && ageMs <= limitMs;

function note(misses: Misses, ageMs: number): void {
  misses.count += 1;
  misses.longestMs = Math.max(misses.longestMs, ageMs);
}
