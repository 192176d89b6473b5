import type { Bots, Figures } from './model-postgres.js';

/** The writes that a read must show. */
export interface Expectation {
  /** Writes that were answered before it began; none after Redis has lost invalidations. */
  answered: Bots;
  /** Writes that the process had read from the log before it began. */
  polled: Bots;
}

interface Mutation {
  /** Whether Redis lost invalidations during the write: its own may be among them. */
  isVoid: boolean;
}

/** Records the answered and logged writes, and checks that reads show them. */
export class Ledger {
  private answered: Bots = {};
  private readonly read = new Map<string, Bots>();
  private readonly polled = new Map<string, Bots>();
  private readonly reads = new Set<Expectation>();
  private readonly mutations = new Set<Mutation>();
  /** Descriptions of stale reads. */
  readonly stale: string[] = [];

  constructor(private readonly initial: Bots) {}

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
    for (const expectation of this.reads) expectation.answered = {};
    for (const mutation of this.mutations) mutation.isVoid = true;
  }

  readBegins(process: string): Expectation {
    const expectation = { answered: this.answered, polled: this.polled.get(process) ?? this.initial };
    this.reads.add(expectation);
    return expectation;
  }

  readEnds(expectation: Expectation, seen: Readonly<Record<string, Partial<Figures>>>, what: string): void {
    this.reads.delete(expectation);
    for (const [bot, figures] of Object.entries(seen)) {
      for (const source of ['answered', 'polled'] as const) {
        const least = expectation[source][bot];
        for (const name of ['version', 'total'] as const) {
          const [shown, due] = [figures[name], least?.[name] ?? 0];
          if (shown !== undefined && shown < due) {
            this.stale.push(`${what}: ${name} ${shown} of ${bot}, though ${due} was ${source}`);
          }
        }
      }
    }
  }
}

const highest = (known: Figures, { version = 0, total = 0 }: Partial<Figures>): Figures => ({
  version: Math.max(known.version, version),
  total: Math.max(known.total, total),
});
