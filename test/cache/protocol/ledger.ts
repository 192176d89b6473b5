import type { Bots, Figures } from './model-postgres.js';

/** What a read has to show at least. */
export interface Expectation {
  /** What mutations had answered when it began; nothing, once Redis has lost invalidations. */
  answered: Bots;
  /** What the process had read of the log when it began. */
  polled: Bots;
}

interface Mutation {
  /** Redis lost invalidations while it was under way: its invalidation may have gone with it. */
  isVoid: boolean;
}

/** What everybody has been told, and what they may rely on therefore. */
export class Ledger {
  private answered: Bots = {};
  private readonly read = new Map<string, Bots>();
  private readonly polled = new Map<string, Bots>();
  private readonly reads = new Set<Expectation>();
  private readonly mutations = new Set<Mutation>();
  /** What reads have not shown though they had to. */
  readonly stale: string[] = [];

  constructor(private readonly initial: Bots) {}

  /** A process is reading the log at this moment, at which this is committed. */
  isRead(process: string, committed: Bots): void {
    this.read.set(process, committed);
  }

  /** What it has read has arrived. */
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

  /** Redis holds something else than it did a moment ago: what was invalidated before is as if it never was. */
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
