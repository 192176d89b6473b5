/** Milliseconds of this process's monotonic clock. */
export type Instant = number;

/** The most values that a timeline remembers. Only how long a write was missed needs the older ones, not whether. */
const MAX_VALUES = 4_096;

/** For a quantity that only grows: its values and the instants from which each was known to be in force. */
class Timeline {
  private readonly values: number[] = [];
  private readonly instants: Instant[] = [];

  reach(value: number, at: Instant): void {
    if (value <= (this.values.at(-1) ?? -Infinity)) return;
    this.values.push(value);
    this.instants.push(at);
    if (this.values.length <= MAX_VALUES) return;
    this.values.splice(0, MAX_VALUES / 2);
    this.instants.splice(0, MAX_VALUES / 2);
  }

  /** The value in force at a time; undefined before the first one. */
  valueAt(at: Instant): number | undefined {
    let i = this.instants.length - 1;
    while (i >= 0 && (this.instants[i] as number) > at) i--;
    return this.values[i];
  }

  /** How long before `from` the first value above `seen` was in force (ms); undefined if there was none. */
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

/** How the checker knows a value: an answered mutation, the database itself, or a read that has ended. */
export type Known = 'answered' | 'committed' | 'shown';

/** The checker's verdict on a value that a read returned. */
export interface Verdict {
  /** How long before the read a write that it missed had been answered (ms); undefined if it missed none. */
  readonly missedAnswered: number | undefined;
  /** The same for committed writes that no mutation has answered: made by SQL, or the answer was lost. */
  readonly missedCommitted: number | undefined;
  /** How long before the read an earlier one, which showed a newer value, had ended (ms); undefined if none had. */
  readonly missedShown: number | undefined;
  /** Whether the database cannot have held the value at any time. */
  readonly impossible: boolean;
}

export const FAULTLESS: Verdict = {
  missedAnswered: undefined,
  missedCommitted: undefined,
  missedShown: undefined,
  impossible: false,
};

/** Combines the verdicts on values that were read together. */
export function worstOf(verdicts: readonly Verdict[]): Verdict {
  return verdicts.reduce(
    (worst, { missedAnswered, missedCommitted, missedShown, impossible }) => ({
      missedAnswered: longest(worst.missedAnswered, missedAnswered),
      missedCommitted: longest(worst.missedCommitted, missedCommitted),
      missedShown: longest(worst.missedShown, missedShown),
      impossible: worst.impossible || impossible,
    }),
    FAULTLESS,
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
  private readonly shown = new Timeline();
  /** For each epoch, the highest value that can have been written in it. */
  private readonly ceilings: number[];

  constructor(initial: number) {
    this.ceilings = [initial];
  }

  /** Writes that may raise the value by `steps` have begun. */
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

  /** The database was seen to hold this value or a higher one. */
  isCommitted(value: number, at: Instant): void {
    const position = this.positionOf(value);
    if (position !== undefined) this.committed.reach(position, at);
  }

  /** A read that has returned this value ended. */
  isShown(value: number, at: Instant): void {
    // A value that several epochs allow counts as one of the earliest: it then shows the least.
    const epoch = this.ceilings.findIndex((ceiling) => value <= ceiling);
    if (epoch >= 0) this.shown.reach(epoch * EPOCH + value, at);
  }

  /** For how long a value had been outdated at an instant, as far as is known (ms). */
  ageOf(value: number, at: Instant): number {
    const position = this.positionOf(value) ?? 0;
    const timelines = [this.answered, this.committed, this.shown];
    return Math.max(0, ...timelines.map((timeline) => timeline.ageOfFirstAbove(position, at) ?? 0));
  }

  /** The lowest possible value at an instant, by what was answered, seen in the database or shown by then. */
  minAt(known: Known, at: Instant): number {
    const position = this[known].valueAt(at) ?? 0;
    // Values of an earlier epoch give no lower bound for this one.
    return Math.floor(position / EPOCH) === this.ceilings.length - 1 ? position % EPOCH : 0;
  }

  /** The highest possible value: all writes that have begun count. */
  get max(): number {
    return Math.max(...this.ceilings);
  }

  /** Checks a value that was returned by a read that began at `from`. */
  check(seen: number, from: Instant): Verdict {
    const position = this.positionOf(seen);
    if (position === undefined) {
      return { ...FAULTLESS, impossible: true };
    }
    return {
      missedAnswered: this.answered.ageOfFirstAbove(position, from),
      missedCommitted: this.committed.ageOfFirstAbove(position, from),
      missedShown: this.shown.ageOfFirstAbove(position, from),
      impossible: false,
    };
  }

  /** The position of a value across all epochs; the latest epoch that allows the value wins. */
  private positionOf(value: number): number | undefined {
    for (let epoch = this.ceilings.length - 1; epoch >= 0; epoch--) {
      if (value <= (this.ceilings[epoch] as number)) return epoch * EPOCH + value;
    }
    return undefined;
  }
}
