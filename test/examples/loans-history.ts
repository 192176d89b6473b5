import type { ExampleServer, Fleet } from './library-fleet.js';

/** The promised bound for a write by SQL to become visible (ms). */
const SQL_BOUND_MS = 2_000;
/** Readers of each process. */
const READERS = 3;
/** A writer writes again after this many reads, so that most reads are hits. */
const READS_A_WRITE = 25;
/** Books 1 and 2 are lent by mutations and by SQL, book 3 by SQL alone. */
const BOOKS = [1, 2, 3];
const LENT_BY_MUTATIONS = [1, 2];

const QUERIES = [
  '{ a: shelf(id: 1) { books { id loans } } b: shelf(id: 2) { books { id loans } } }',
  '{ a: shelf(id: 1) { name books { id loans shelf { name } } } }',
  ...BOOKS.map((id) => `{ book(id: ${id}) { id loans } }`),
];

interface Lent {
  readonly id: number;
  readonly loans: number;
}
type Answer = Readonly<Record<string, Lent | { readonly books: readonly Lent[] }>>;

export interface Report {
  reads: number;
  /** The number of values that were read. */
  observations: number;
  mutations: number;
  sqlWrites: number;
  /** Values older than what was acknowledged when their read began. */
  stale: number;
  firstStale: string | undefined;
}

/**
 * Each write adds one to a book's loans, so a value shows which writes it includes. A read must include every mutation that
 * was answered before it began, and every write by SQL that was committed {@link SQL_BOUND_MS} before.
 */
export class LoansHistory {
  readonly report: Report = {
    reads: 0,
    observations: 0,
    mutations: 0,
    sqlWrites: 0,
    stale: 0,
    firstStale: undefined,
  };
  private readonly mutations = new Map(BOOKS.map((id) => [id, 0]));
  /** When the writes by SQL were committed. */
  private readonly sqlWrites = new Map<number, number[]>(BOOKS.map((id) => [id, []]));
  /** The number of writes that have begun. */
  private readonly begun = new Map(BOOKS.map((id) => [id, 0]));
  private isOver = false;
  private waiting: { reads: number; go: () => void }[] = [];

  constructor(private readonly fleet: Fleet) {}

  /** Reads and writes for a time, or until the first stale value. */
  async run(seconds: number, untilStale = false): Promise<Report> {
    const end = setTimeout(() => this.finish(), seconds * 1_000);
    const { servers } = this.fleet;
    try {
      await Promise.all([
        ...servers.flatMap((server) =>
          Array.from({ length: READERS }, async (_, i) => await this.reads(server, i, untilStale)),
        ),
        ...servers.map(async (server) => await this.lends(server)),
        this.writesBySql(),
      ]);
    } finally {
      clearTimeout(end);
      this.finish();
    }
    return this.report;
  }

  private finish(): void {
    this.isOver = true;
    for (const { go } of this.waiting.splice(0)) go();
  }

  private async reads(server: ExampleServer, offset: number, untilStale: boolean): Promise<void> {
    for (let i = offset; !this.isOver; i++) {
      const startedAt = performance.now();
      const least = new Map(BOOKS.map((id) => [id, this.leastLoans(id, startedAt)]));
      const answer = await server.ask<Answer>(QUERIES[i % QUERIES.length] ?? '');
      for (const part of Object.values(answer)) {
        for (const lent of 'books' in part ? part.books : [part]) this.check(lent, least.get(lent.id) ?? 0);
      }
      this.report.reads++;
      for (const waiter of this.waiting) waiter.reads--;
      for (const { go } of this.waiting.filter(({ reads }) => reads <= 0)) go();
      this.waiting = this.waiting.filter(({ reads }) => reads > 0);
      if (untilStale && this.report.stale > 0) this.finish();
    }
  }

  private leastLoans(id: number, now: number): number {
    const settled = this.sqlWrites.get(id)?.filter((at) => at <= now - SQL_BOUND_MS).length ?? 0;
    return settled + (this.mutations.get(id) ?? 0);
  }

  private check({ id, loans }: Lent, least: number): void {
    this.report.observations++;
    if (loans > (this.begun.get(id) ?? 0)) throw new Error(`Book ${id} was never lent ${loans} times`);
    if (loans >= least) return;
    this.report.stale++;
    this.report.firstStale ??= `book ${id} with ${loans} loans instead of ${least}`;
  }

  private async pause(): Promise<void> {
    if (this.isOver) return;
    await new Promise<void>((go) => this.waiting.push({ reads: READS_A_WRITE, go }));
  }

  private async lends(server: ExampleServer): Promise<void> {
    for (let i = 0; !this.isOver; i++) {
      const id = LENT_BY_MUTATIONS[i % LENT_BY_MUTATIONS.length] ?? 0;
      add(this.begun, id);
      await server.ask(`mutation { lend(bookId: ${id}) { id loans } }`);
      add(this.mutations, id);
      this.report.mutations++;
      await this.pause();
    }
  }

  private async writesBySql(): Promise<void> {
    const { sql } = this.fleet.database;
    for (let i = 0; !this.isOver; i++) {
      const id = BOOKS[i % BOOKS.length] ?? 0;
      add(this.begun, id);
      await sql`update books set loans = loans + 1 where id = ${id}`;
      this.sqlWrites.get(id)?.push(performance.now());
      this.report.sqlWrites++;
      await this.pause();
    }
  }
}

const add = (counts: Map<number, number>, id: number): unknown => counts.set(id, (counts.get(id) ?? 0) + 1);
