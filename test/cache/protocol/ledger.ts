import type { Bots, Figures } from './model-postgres.js';

/** The bots as a part of an answer shows them. */
export type View = Readonly<Record<string, Partial<Figures>>>;

/** The writes that a read must show. */
export interface Expectation {
  /** Writes that were answered before it began; none after Redis has lost invalidations. */
  answered: Bots;
  /** Writes that the process had read from the log before it began. */
  polled: Bots;
  /** The earliest state that it may show, by number, because of what was shown before; undefined after losses. */
  floor: number | undefined;
}

interface Mutation {
  /** Whether Redis lost invalidations during the write: its own may be among them. */
  isVoid: boolean;
}

/** Records the answered and logged writes and what reads showed, and checks that reads agree with them. */
export class Ledger {
  private answered: Bots = {};
  private readonly read = new Map<string, Bots>();
  private readonly polled = new Map<string, Bots>();
  private readonly reads = new Set<Expectation>();
  private readonly mutations = new Set<Mutation>();
  /** The number of the latest state that was shown for certain. */
  private floor: number | undefined = 0;
  /** Descriptions of what was wrong. */
  readonly violations: string[] = [];

  /**
   * @param states all states that the database has had so far
   * @param isOrdered whether reads must not go backwards, and each must be of one moment
   */
  constructor(
    private readonly states: readonly Bots[],
    private readonly isOrdered: boolean,
  ) {}

  /** A process reads the log now; these writes are committed. */
  isRead(process: string, committed: Bots): void {
    this.read.set(process, committed);
  }

  /** The process has received its read of the log. */
  isPolled(process: string): void {
    this.polled.set(process, this.read.get(process) ?? this.initial);
  }

  mutationBegins(): Mutation {
    const mutation = { isVoid: false };
    this.mutations.add(mutation);
    return mutation;
  }

  mutationIsAnswered(mutation: Mutation, bot: string, figure: Partial<Figures>): void {
    this.mutations.delete(mutation);
    if (mutation.isVoid) return;
    const known = this.answered[bot] ?? { version: 0, total: 0 };
    this.answered = { ...this.answered, [bot]: highest(known, figure) };
  }

  /** Redis was set back, so earlier invalidations may be lost. */
  layerOneIsLost(): void {
    this.answered = {};
    this.floor = undefined;
    for (const expectation of this.reads) {
      expectation.answered = {};
      expectation.floor = undefined;
    }
    for (const mutation of this.mutations) mutation.isVoid = true;
  }

  readBegins(process: string): Expectation {
    const expectation = {
      answered: this.answered,
      polled: this.polled.get(process) ?? this.initial,
      floor: this.isOrdered ? this.floor : undefined,
    };
    this.reads.add(expectation);
    return expectation;
  }

  /** @param parts what the answer shows, each part read by itself */
  readEnds(expectation: Expectation, parts: readonly View[], what: string): void {
    this.reads.delete(expectation);
    for (const part of parts) this.checkFigures(expectation, part, what);
    if (expectation.floor === undefined) return;
    const { floor } = expectation;
    const possible = [...this.states.keys()].filter((i) => shows(this.states[i] as Bots, parts));
    const first = possible.find((i) => i >= floor);
    if (possible.length === 0) this.violations.push(`${what}: ${JSON.stringify(parts)} is of no moment`);
    else if (first !== undefined) this.raiseFloor(first);
    else {
      const latest = possible.at(-1) as number;
      this.violations.push(`${what}: back to state ${latest}, though ${floor} was shown before`);
    }
  }

  /** What decides how later reads are judged. */
  get state(): string {
    return JSON.stringify([this.floor, this.answered, [...this.reads].map(({ floor }) => floor)]);
  }

  private checkFigures(expectation: Expectation, part: View, what: string): void {
    for (const [bot, figures] of Object.entries(part)) {
      for (const source of ['answered', 'polled'] as const) {
        const least = expectation[source][bot];
        for (const name of ['version', 'total'] as const) {
          const [shown, due] = [figures[name], least?.[name] ?? 0];
          if (shown !== undefined && shown < due) {
            this.violations.push(`${what}: ${name} ${shown} of ${bot}, though ${due} was ${source}`);
          }
        }
      }
    }
  }

  private raiseFloor(state: number): void {
    if (this.floor !== undefined && state > this.floor) this.floor = state;
  }

  private get initial(): Bots {
    return this.states[0] as Bots;
  }
}

/** Whether everything that an answer shows was true in a state. */
const shows = (state: Bots, parts: readonly View[]): boolean =>
  parts.every((part) =>
    Object.entries(part).every(([bot, { version, total }]) => {
      const figures = state[bot];
      return (
        (version === undefined || version === figures?.version) &&
        (total === undefined || total === figures?.total)
      );
    }),
  );

const highest = (known: Figures, { version = 0, total = 0 }: Partial<Figures>): Figures => ({
  version: Math.max(known.version, version),
  total: Math.max(known.total, total),
});
