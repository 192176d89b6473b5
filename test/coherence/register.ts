/** Milliseconds of this process's monotonic clock. */
export type Instant = number;

/** When each value of a growing quantity was known to be in force, in the order in which that became known. */
class Timeline {
  private readonly values: number[] = [];
  private readonly instants: Instant[] = [];

  reach(value: number, at: Instant): void {
    if (value <= (this.values.at(-1) ?? -Infinity)) return;
    this.values.push(value);
    this.instants.push(at);
  }

  /** The value in force at a time; undefined before the first one. */
  valueAt(at: Instant): number | undefined {
    let i = this.instants.length - 1;
    while (i >= 0 && (this.instants[i] as number) > at) i--;
    return this.values[i];
  }

  /** How long before `from` a value above `seen` was in force first; undefined if there was none by then. */
  ageOfFirstAbove(seen: number, from: Instant): number | undefined {
    let low = 0;
    let high = this.values.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.values[middle] as number) > seen) high = middle;
      else low = middle + 1;
    }
    const at = this.instants[low];
    return at !== undefined && at <= from ? from - at : undefined;
  }
}

/** What is wrong with a value that a read returned. */
export interface Judgement {
  /** For how long a write that the read missed had been answered when the read began (ms); undefined: none was missed. */
  readonly missedAnswered: number | undefined;
  /** The same for writes that were only known to be in the database: from outside, or of a mutation without an answer. */
  readonly missedCommitted: number | undefined;
  /** The value can never have been in the database. */
  readonly impossible: boolean;
}

const INNOCENT: Judgement = { missedAnswered: undefined, missedCommitted: undefined, impossible: false };

/** What is wrong with several values that were read together. */
export function worstOf(judgements: readonly Judgement[]): Judgement {
  return judgements.reduce(
    (worst, { missedAnswered, missedCommitted, impossible }) => ({
      missedAnswered: longest(worst.missedAnswered, missedAnswered),
      missedCommitted: longest(worst.missedCommitted, missedCommitted),
      impossible: worst.impossible || impossible,
    }),
    INNOCENT,
  );
}

const longest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);

/** Values of an epoch are below this; later epochs count from its multiples. */
const EPOCH = 2 ** 40;

/**
 * The history of one quantity that only grows, such as the version of a bot: which values were answered, and when.
 * A quantity that is set back (by TRUNCATE) begins a new epoch, which counts as growth.
 */
export class Register {
  private readonly answered = new Timeline();
  private readonly committed = new Timeline();
  /** For each epoch, the highest value that can have been written in it. */
  private readonly ceilings: number[];

  constructor(initial: number) {
    this.ceilings = [initial];
  }

  /** Writes have begun, and may have happened at any time from now on. */
  mayGrowBy(steps: number): void {
    this.ceilings.push((this.ceilings.pop() ?? 0) + steps);
  }

  /** A write that sets the quantity back to `initial` has begun. */
  mayRestartFrom(initial: number): void {
    this.ceilings.push(initial);
  }

  /** The system has answered that the value is at least this. */
  isAnswered(value: number, at: Instant): void {
    const position = this.positionOf(value);
    if (position !== undefined) this.answered.reach(position, at);
  }

  /** The database has this value or a higher one. */
  isCommitted(value: number, at: Instant): void {
    const position = this.positionOf(value);
    if (position !== undefined) this.committed.reach(position, at);
  }

  /** The least that the value can be at a time, as the system has answered or the database was seen to hold. */
  leastAt(known: 'answered' | 'committed', at: Instant): number {
    const position = this[known].valueAt(at) ?? 0;
    // What was true of an earlier epoch says nothing of this one.
    return Math.floor(position / EPOCH) === this.ceilings.length - 1 ? position % EPOCH : 0;
  }

  /** The most that the value can be, by all writes that have begun. */
  get most(): number {
    return Math.max(...this.ceilings);
  }

  /** Judges what a read that began at `from` has returned. */
  judge(seen: number, from: Instant): Judgement {
    const position = this.positionOf(seen);
    if (position === undefined) {
      return { ...INNOCENT, impossible: true };
    }
    return {
      missedAnswered: this.answered.ageOfFirstAbove(position, from),
      missedCommitted: this.committed.ageOfFirstAbove(position, from),
      impossible: false,
    };
  }

  /** Where a value stands in all epochs; one that fits several belongs to the latest. */
  private positionOf(value: number): number | undefined {
    for (let epoch = this.ceilings.length - 1; epoch >= 0; epoch--) {
      if (value <= (this.ceilings[epoch] as number)) return epoch * EPOCH + value;
    }
    return undefined;
  }
}
