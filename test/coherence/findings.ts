import type { Judgement } from './register.js';

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
  | 'mutation'
  | 'access';

/** Which reads a run forgives. */
export interface Tolerance {
  /** How long an answered write may stay unseen (ms): 0 without faults. */
  readonly answeredMs: number;
  /** How long a write may stay unseen that no mutation has answered: one from outside, or one whose answer was lost. */
  readonly committedMs: number;
}

/** The guarantee without faults, and with them. */
export const STRICT: Tolerance = { answeredMs: 0, committedMs: 2_000 };
export const WITHIN_TWO_SECONDS: Tolerance = { answeredMs: 2_000, committedMs: 2_000 };

/** The number of values that missed a write, and the longest time that such a write had been there. */
interface Misses {
  count: number;
  longestMs: number;
}

const MAX_SAMPLES = 10;

/** What a checked history amounts to. */
export class Findings {
  observations = 0;
  requests = 0;
  /** Observations that missed an answered write. */
  readonly stale: Misses = { count: 0, longestMs: 0 };
  /** Observations that missed a write which was in the database, but which no mutation had answered. */
  readonly late: Misses = { count: 0, longestMs: 0 };
  /** Observations that missed a write for longer than tolerated. */
  intolerable = 0;
  /** Values that nobody can have written: an error of the checker, or worse. */
  impossible = 0;
  /** Requests that failed for no good reason. */
  failures = 0;
  /** Requests that failed because their server was killed or had no database. */
  excused = 0;
  readonly byView = new Map<View, number>();
  readonly samples: string[] = [];
  /** What else there is to say. */
  readonly notes: string[] = [];

  constructor(readonly tolerance: Tolerance) {}

  count(view: View): void {
    this.observations += 1;
    this.byView.set(view, (this.byView.get(view) ?? 0) + 1);
  }

  /** @param describe says what was seen, for the first few that are wrong. */
  judge({ missedAnswered, missedCommitted, impossible }: Judgement, describe: () => string): void {
    if (impossible) {
      this.impossible += 1;
      this.sample(`impossible: ${describe()}`);
    }
    if (missedAnswered !== undefined) note(this.stale, missedAnswered);
    if (missedCommitted !== undefined) note(this.late, missedCommitted);
    const isTolerable =
      (missedAnswered === undefined || isWithin(missedAnswered, this.tolerance.answeredMs)) &&
      (missedCommitted ?? 0) <= this.tolerance.committedMs;
    if (isTolerable) return;
    this.intolerable += 1;
    const ageMs = Math.max(missedAnswered ?? 0, missedCommitted ?? 0);
    this.sample(`stale by ${ageMs.toFixed(0)} ms: ${describe()}`);
  }

  fail(description: string): void {
    this.failures += 1;
    this.sample(`failed: ${description}`);
  }

  /** Takes in what a later part of the same run amounts to. */
  add(later: Findings): void {
    this.observations += later.observations;
    this.requests += later.requests;
    this.intolerable += later.intolerable;
    this.impossible += later.impossible;
    this.failures += later.failures;
    this.excused += later.excused;
    for (const [mine, theirs] of [
      [this.stale, later.stale],
      [this.late, later.late],
    ] as const) {
      mine.count += theirs.count;
      mine.longestMs = Math.max(mine.longestMs, theirs.longestMs);
    }
    for (const [view, count] of later.byView) this.byView.set(view, (this.byView.get(view) ?? 0) + count);
    later.samples.forEach((sample) => this.sample(sample));
    this.notes.push(...later.notes);
  }

  /** What breaks the guarantee; empty if nothing does. */
  get problems(): string[] {
    const { answeredMs } = this.tolerance;
    return [
      ...(this.intolerable > 0
        ? [`${this.intolerable} observations missed a write for more than ${answeredMs} ms`]
        : []),
      ...(this.impossible > 0 ? [`${this.impossible} observations of values that were never written`] : []),
      ...(this.failures > 0 ? [`${this.failures} requests failed`] : []),
    ];
  }

  private sample(text: string): void {
    if (this.samples.length < MAX_SAMPLES) this.samples.push(text);
  }
}

/** Nothing at all is within 0. */
const isWithin = (ageMs: number, limitMs: number): boolean => limitMs > 0 && ageMs <= limitMs;

function note(misses: Misses, ageMs: number): void {
  misses.count += 1;
  misses.longestMs = Math.max(misses.longestMs, ageMs);
}
