import type { LogBatch, LogEntry, LogSource } from '../../../src/cache/invalidation/invalidation-log.js';
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
  /** The committed rows. */
  bots: Bots;

  constructor(
    private readonly steps: Steps,
    names: readonly string[],
  ) {
    this.bots = Object.fromEntries(names.map((name) => [name, { version: 1, total: 1 }]));
  }

  /** The snapshot that a statement would get now. */
  get snapshot(): SnapshotText {
    const xmax = this.latestCompleted + 1;
    const inProgress = [...this.running].filter((xid) => xid < xmax).toSorted((a, b) => a - b);
    return `${inProgress[0] ?? xmax}:${xmax}:${inProgress.join(',')}`;
  }

  /** Runs a transaction: takes the row's lock and an id, and commits some steps later. Returns the new value. */
  async write(who: string, bot: string, change: keyof Figures, tags: readonly Tag[]): Promise<number> {
    await this.steps.next(`${who} begins`);
    const unlock = await this.lock(bot);
    const xid = this.nextXid++;
    this.running.add(xid);
    await this.steps.next(`${who} commits`);
    const figures = this.bots[bot] as Figures;
    const value = figures[change] + 1;
    this.bots = { ...this.bots, [bot]: { ...figures, [change]: value } };
    this.running.delete(xid);
    this.latestCompleted = Math.max(this.latestCompleted, xid);
    this.log.push({ xid, tags });
    unlock();
    await this.steps.next(`${who} has committed`);
    return value;
  }

  /** Runs a statement; all its reads belong to one step. */
  async read<Value>(
    who: string,
    select: (bots: Bots) => { value: Value; version?: number }[],
  ): Promise<Snapshotted<Value>[]> {
    await this.steps.next(`${who} loads`);
    const { snapshot } = this;
    const rows = select(this.bots).map((row) => ({ ...row, snapshot }));
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
