import { parseMoment, type MomentText } from '../core/moment.js';
import { epochOf, isLater, xmaxOf, type SnapshotText } from '../core/snapshot.js';
import type { InvalidationLog, LogBatch } from './invalidation-log.js';
import type { Invalidator } from './invalidator.js';

/**
 * How many entries of the first read of the log are helped, the newest: all other processes have read the older ones,
 * and refuse what they outdate.
 */
const MAX_ENTRIES_AT_START = 1_000;

/** A snapshot all of whose logged writes are invalidated in Redis. */
export interface HelpedMoment {
  readonly snapshot: SnapshotText;
  /** The `xmax` of the snapshot, with which others are compared. */
  readonly xmax: number;
  /** How many batches of writes this process has helped until then. */
  readonly batches: number;
}

/**
 * Completes the invalidations of other writers, before a value that contains their writes is shown.
 *
 * A value that a load found may contain a write whose invalidation is still under way, or that nobody invalidates
 * (psql). If it were shown at once, a later read of another process could still hit the value from before the write:
 * time would run backwards. So a load also returns the log entries that this process has not seen, and this class
 * adds their transactions to the generations of all their tags in Redis before the value is shown, shared or stored.
 * Completing another's operation before one's own is known as helping (Herlihy, "Wait-free synchronization", 1991).
 */
export class Helping {
  private helpedUpTo: HelpedMoment = { snapshot: '@none', xmax: -1, batches: 0 };
  private batches = 0;
  /** Ends when all entries learned so far are invalidated. Never fails. */
  private underWay: Promise<void> | undefined;

  constructor(
    private readonly parts: {
      readonly invalidationLog: InvalidationLog;
      readonly invalidator: Invalidator;
      /** Whether readers get values from this process: only then must it help what the first read of the log has. */
      readonly serves: boolean;
    },
  ) {
    parts.invalidationLog.onLearned((batch, from) => this.help(batch, from === 'load' ? 'helped' : 'log'));
  }

  /** Up to where all logged writes are invalidated, as far as Redis works. */
  get helped(): HelpedMoment {
    return this.helpedUpTo;
  }

  /** The argument of `cache_moment`, for a load that begins now. */
  get since(): SnapshotText {
    return this.parts.invalidationLog.knownUpTo;
  }

  /**
   * Learns from the moments of loads. Returns a promise if their values must not be shown before it resolves. It never
   * fails: while Redis or the log fails, the log check alone keeps other processes from old values.
   */
  admit(moments: readonly MomentText[]): Promise<void> | undefined {
    const { invalidationLog } = this.parts;
    let isKnown = true;
    let last: MomentText | undefined;
    for (const moment of moments) {
      if (moment === last) continue;
      last = moment;
      isKnown = invalidationLog.learn(parseMoment(moment)) && isKnown;
    }
    return isKnown ? this.underWay : this.confirm();
  }

  /**
   * Helps what a row shows that a transaction has written: the writes of others that it had waited for. Learns nothing
   * of the log, because a snapshot taken within a transaction counts the transaction itself as seen before it has
   * logged anything. Never fails.
   * @param moment the result of `cache_moment_of_write`
   */
  async helpShown(moment: MomentText): Promise<void> {
    const { snapshot, entries } = parseMoment(moment);
    if (entries === undefined) await this.confirm();
    else
      await Promise.all([
        this.underWay,
        this.parts.invalidator.addWrites(entries, epochOf(snapshot), 'helped'),
      ]);
  }

  /** Reads the log, and waits until everything that was committed before this call is invalidated. Never fails. */
  async confirm(): Promise<void> {
    await this.parts.invalidationLog.confirm();
    await this.underWay;
  }

  private help({ snapshot, entries }: LogBatch, cause: 'helped' | 'log'): void {
    const isFirst = epochOf(snapshot) !== epochOf(this.helpedUpTo.snapshot);
    const atStart = this.parts.serves ? entries.slice(-MAX_ENTRIES_AT_START) : [];
    const toHelp = isFirst ? atStart : entries;
    const helping =
      toHelp.length === 0
        ? this.underWay
        : Promise.all([this.underWay, this.parts.invalidator.addWrites(toHelp, epochOf(snapshot), cause)]);
    if (entries.length > 0) this.batches++;
    const moment = { snapshot, xmax: xmaxOf(snapshot), batches: this.batches };
    if (helping === undefined) {
      this.helpedUpTo = moment;
      return;
    }
    const underWay = helping.then(() => {
      this.helpedUpTo = moment;
      if (this.underWay === underWay) this.underWay = undefined;
    });
    this.underWay = underWay;
  }
}

/** Whether a snapshot has seen nothing that is not helped. */
export const isHelped = (snapshot: SnapshotText, { snapshot: helped, xmax }: HelpedMoment): boolean =>
  snapshot === helped || xmaxOf(snapshot) < xmax || (xmax >= 0 && !isLater(snapshot, helped));
