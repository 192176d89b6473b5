import type { LogBatch, LogSource } from '../../../src/cache/invalidation/invalidation-log.js';
import type { LogEntry, MomentText } from '../../../src/cache/core/moment.js';
import type { Snapshotted } from '../../../src/cache/core/resource.js';
import { isVisible, type SnapshotText } from '../../../src/cache/core/snapshot.js';
import type { Tag } from '../../../src/cache/core/tags.js';
import type { Steps } from './steps.js';

/** A quantity that a write increments: a bot's version, or the total of its messages. */
export interface Figures {
  readonly version: number;
  readonly total: number;
}

/** The bots of a database, by name. */
export type Bots = Readonly<Record<string, Figures>>;

/** One change of a row. */
export interface Change {
  readonly bot: string;
  readonly figure: keyof Figures;
}

/** Fewer than in `cache_moment`, so that loads often have to read the log. */
const MAX_ENTRIES_OF_MOMENT = 2;

/** What a statement tells of the log since a snapshot. */
type MomentSince = (since: SnapshotText) => MomentText;

/** Reads rows: {@link ModelPostgres.read}, or a transaction's. */
export type ReadOnly = Pick<ModelPostgres, 'read'>;

/**
 * A model of the parts of PostgreSQL that the protocol depends on: transactions that take ids in one order and commit in
 * another, row locks, snapshots, and a log that is written with the rows.
 */
export class ModelPostgres {
  private nextXid = 100;
  private latestCompleted = 99;
  private readonly running = new Set<number>();
  private readonly log: LogEntry[] = [];
  private readonly locks = new Map<string, Promise<void>>();
  /** The rows after each commit. */
  private readonly committed: Bots[] = [];

  constructor(
    private readonly steps: Steps,
    names: readonly string[],
  ) {
    this.committed.push(Object.fromEntries(names.map((name) => [name, { version: 1, total: 1 }])));
  }

  /** The committed rows. */
  get bots(): Bots {
    return this.committed.at(-1) as Bots;
  }

  /** The rows at the beginning and after each commit. */
  get states(): readonly Bots[] {
    return this.committed;
  }

  /** The snapshot that a statement would get now. */
  get snapshot(): SnapshotText {
    const xmax = this.latestCompleted + 1;
    const inProgress = [...this.running].filter((xid) => xid < xmax).toSorted((a, b) => a - b);
    return `${inProgress[0] ?? xmax}:${xmax}:${inProgress.join(',')}`;
  }

  /**
   * Runs a transaction: takes the rows' locks and an id, and commits some steps later. Returns the new rows.
   * @param changes of rows in the order of their names, so that no deadlocks arise
   */
  async write(who: string, changes: readonly Change[], tags: readonly Tag[]): Promise<Bots> {
    await this.steps.next(`${who} begins`);
    const locks: (() => void)[] = [];
    for (const { bot } of changes) locks.push(await this.lock(bot));
    const xid = this.nextXid++;
    this.running.add(xid);
    await this.steps.next(`${who} commits`);
    let { bots } = this;
    for (const { bot, figure } of changes) {
      const figures = bots[bot] as Figures;
      bots = { ...bots, [bot]: { ...figures, [figure]: figures[figure] + 1 } };
    }
    this.committed.push(bots);
    this.running.delete(xid);
    this.latestCompleted = Math.max(this.latestCompleted, xid);
    this.log.push({ xid, tags });
    for (const unlock of locks) unlock();
    await this.steps.next(`${who} has committed`);
    return bots;
  }

  /** Begins a transaction whose reads all have the snapshot of the first. */
  beginSnapshot(): ReadOnly {
    let snapshot: { readonly bots: Bots; readonly moment: MomentSince } | undefined;
    return {
      read: async (who, since, select) => {
        await this.steps.next(`${who} loads in its transaction`);
        snapshot ??= { bots: this.bots, moment: this.momentNow() };
        const moment = snapshot.moment(since);
        const rows = select(snapshot.bots).map((row) => ({ ...row, snapshot: moment }));
        await this.steps.next(`${who} has loaded`);
        return rows;
      },
    };
  }

  /** `cache_moment`: the snapshot, and the log entries that another has not seen. */
  private momentNow(): MomentSince {
    const { snapshot } = this;
    const log = this.log.length;
    return (since) => {
      if (since === '') return snapshot;
      const unseen = this.log.slice(0, log).filter(({ xid }) => !isVisible(xid, since));
      if (unseen.length > MAX_ENTRIES_OF_MOMENT) return `${snapshot} *`;
      return `${snapshot} ${JSON.stringify(unseen.map(({ xid, tags }) => [xid, tags]))}`;
    };
  }

  /** The rows, running transactions and locks; the rest follows from the steps that were taken. */
  get state(): string {
    return JSON.stringify([this.bots, this.nextXid, [...this.running], this.log.length]);
  }

  /** Runs a statement; all its reads belong to one step. */
  async read<Value>(
    who: string,
    since: SnapshotText,
    select: (bots: Bots) => { value: Value; version?: number }[],
  ): Promise<Snapshotted<Value>[]> {
    await this.steps.next(`${who} loads`);
    const moment = this.momentNow()(since);
    const rows = select(this.bots).map((row) => ({ ...row, snapshot: moment }));
    await this.steps.next(`${who} has loaded`);
    return rows;
  }

  /**
   * Reads the log as a process does, with the same condition.
   * @param onRead called in the step in which the log is read
   */
  logSource(who: string, onRead: () => void): LogSource {
    const batch = (entries: readonly LogEntry[]): LogBatch => {
      onRead();
      return { snapshot: this.snapshot, entries, completeFrom: 0 };
    };
    return {
      open: async () => await Promise.resolve(batch([...this.log])),
      poll: async (since) => {
        await this.steps.next(`${who} polls`);
        const found = batch(this.log.filter(({ xid }) => !isVisible(xid, since)));
        await this.steps.next(`${who} has polled`);
        return found;
      },
      lead: async () => await Promise.resolve(false),
      prune: async () => await Promise.resolve(0),
      close: async () => await Promise.resolve(),
    };
  }

  private async lock(bot: string): Promise<() => void> {
    for (let held = this.locks.get(bot); held; held = this.locks.get(bot)) await held;
    let unlock = () => {};
    this.locks.set(
      bot,
      new Promise<void>((resolve) => {
        unlock = () => {
          this.locks.delete(bot);
          resolve();
        };
      }),
    );
    return unlock;
  }
}
