import { Findings, type Tolerance, type View } from './findings.js';
import { GrowingSums } from './growing-sums.js';
import { Life } from './life.js';
import type { Moment } from './moment.js';
import { Register, worstOf, type Instant, type Verdict } from './register.js';
import { checkSums, type OrganizationFigures } from './sums.js';

/** When a read began and ended, and through which server. */
export interface Window {
  readonly from: Instant;
  readonly to: Instant;
  readonly server: string;
  /** What the whole answer shows; undefined for the answer of a mutation. */
  readonly moment?: Moment;
}

/** The growing quantities of a bot; a view may show only some. */
export interface Quantities {
  readonly version?: number;
  /** `totalMessages`, which grows as messages are recorded. */
  readonly total?: number;
  /** `failedMessages`, which grows as pending messages are marked as failed. */
  readonly failed?: number;
  /** The number that the last transaction wrote into the descriptions of a bot and its twin; see {@link BotPair}. */
  readonly marker?: number;
}

/** Two bots whose markers are only changed together, by one transaction. */
export class BotPair {
  readonly marker = new Register(0);
  /** Whether a transaction is changing the pair. */
  isBusy = false;

  constructor(readonly bots: readonly [BotRecord, BotRecord]) {
    for (const bot of bots) bot.pair = this;
  }
}

/** Every bot's name begins with one of these, for the searches. */
export const TERMS = ['even', 'odd'] as const;
export type Term = (typeof TERMS)[number];

/** The history of one bot. */
export class BotRecord {
  readonly version: Register;
  readonly total: Register;
  readonly failed: Register;
  readonly life = new Register(Life.DELETED);
  /** Nobody deletes a bot of a pair, or writes its description alone. */
  pair: BotPair | undefined;
  private deletionBegunAt: Instant | undefined;

  constructor(
    readonly id: string,
    readonly orgId: string,
    readonly term: Term | undefined,
    initial: Required<Omit<Quantities, 'marker'>> = { version: 1, total: 0, failed: 0 },
  ) {
    this.version = new Register(initial.version);
    this.total = new Register(initial.total);
    this.failed = new Register(initial.failed);
  }

  get isBeingDeleted(): boolean {
    return this.deletionBegunAt !== undefined;
  }

  deletionBegins(at: Instant): void {
    this.deletionBegunAt ??= at;
  }

  /** The state that its absence shows if the read ended at `to`: deleted if a deletion had begun, else not yet created. */
  lifeWhenAbsent(to: Instant): number {
    return this.deletionBegunAt !== undefined && this.deletionBegunAt <= to ? Life.DELETED : Life.UNBORN;
  }
}

/** A bot as an item of a list or an answer of its own. */
export interface Item extends Quantities {
  readonly id: string;
  /** Whether the answer also shows that the bot has been deleted. */
  readonly isGone?: boolean;
}

/** A bot as the database has it. */
export type CommittedItem = Required<Omit<Item, 'marker' | 'isGone'>>;

/** A deleted bot is forgotten after this time (ms): no read lasts as long. */
const MAX_DELETED_MS = 60_000;

/**
 * Records what clients wrote and read, and checks each read at once: it must show every write that was answered before the
 * read began, and nothing older than what a read that had ended before showed. All instants come from this process's monotonic clock. An answer's instant is taken after the answer arrived
 * and a read's before it is sent, so the checker never reports a correct read as stale.
 */
export class History {
  private readonly bots = new Map<string, BotRecord>();
  private readonly living = new Map<string, Set<BotRecord>>();
  private readonly sums = new Map<string, GrowingSums>();
  private readonly deleted: { readonly record: BotRecord; readonly at: Instant }[] = [];

  /** The findings of the current part of the history. */
  findings: Findings;

  constructor(tolerance: Tolerance) {
    this.findings = new Findings(tolerance);
  }

  /** Starts new findings, with another tolerance. */
  startFindings(tolerance: Tolerance): Findings {
    this.findings = new Findings(tolerance);
    return this.findings;
  }

  bot(id: string): BotRecord | undefined {
    return this.bots.get(id);
  }

  /** The bots of an organization, except those whose deletion has begun. */
  botsOf(orgId: string): readonly BotRecord[] {
    return [...this.livingOf(orgId)];
  }

  /** Adds a bot, if it is new, and returns its record. */
  learn(record: BotRecord): BotRecord {
    const known = this.bots.get(record.id);
    if (known) return known;
    this.bots.set(record.id, record);
    this.livingOf(record.orgId).add(record);
    return record;
  }

  isCreated(record: BotRecord, at: Instant): void {
    record.life.isAnswered(Life.ALIVE, at);
    record.version.isAnswered(1, at);
  }

  /** A bot was inserted by SQL, so no mutation has answered it. */
  isInserted(record: BotRecord, at: Instant): void {
    record.life.isCommitted(Life.ALIVE, at);
  }

  deletionBegins(record: BotRecord, at: Instant): void {
    if (record.isBeingDeleted) return;
    record.deletionBegins(at);
    this.livingOf(record.orgId).delete(record);
    this.sumsOf(record.orgId).shrink();
  }

  isDeleted(record: BotRecord, at: Instant): void {
    const isKnown = this.isKnownDeleted(record, at);
    record.life.isAnswered(Life.DELETED, at);
    if (!isKnown) this.sumsOf(record.orgId).hasShrunk(at + this.findings.tolerance.answeredMs);
    this.deleted.push({ record, at });
    while (this.deleted[0] && at - this.deleted[0].at > MAX_DELETED_MS) {
      this.bots.delete((this.deleted.shift() as { record: BotRecord }).record.id);
    }
  }

  /** The messages of these bots are about to be deleted by SQL. Call the returned function once they are. */
  messagesVanish(bots: readonly BotRecord[]): (at: Instant) => void {
    for (const bot of bots) {
      bot.total.mayRestartFrom(0);
      bot.failed.mayRestartFrom(0);
    }
    const sums = new Set(bots.map(({ orgId }) => this.sumsOf(orgId)));
    for (const each of sums) each.shrink();
    return (at) => {
      for (const each of sums) each.hasShrunk(at + this.findings.tolerance.committedMs);
    };
  }

  private isKnownDeleted(record: BotRecord, at: Instant): boolean {
    return (['answered', 'committed'] as const).some(
      (known) => record.life.minAt(known, at) === Life.DELETED,
    );
  }

  /** The database was seen to hold these bots of an organization, and no others. */
  isCommitted(orgId: string, items: readonly CommittedItem[], at: Instant): void {
    const there = new Set<string>();
    for (const item of items) {
      there.add(item.id);
      const record = this.learn(new BotRecord(item.id, orgId, undefined));
      record.life.isCommitted(Life.ALIVE, at);
      record.version.isCommitted(item.version, at);
      record.total.isCommitted(item.total, at);
      record.failed.isCommitted(item.failed, at);
    }
    for (const record of this.bots.values()) {
      if (record.orgId === orgId && record.isBeingDeleted && !there.has(record.id)) {
        const isKnown = this.isKnownDeleted(record, at);
        record.life.isCommitted(Life.DELETED, at);
        if (!isKnown) this.sumsOf(orgId).hasShrunk(at + this.findings.tolerance.committedMs);
      }
    }
  }

  /** A read has returned a bot. */
  observe(view: View, item: Item, orgId: string, window: Window): void {
    const { findings } = this;
    const record = this.learn(new BotRecord(item.id, orgId, undefined));
    findings.count(view);
    const verdicts = [this.see(item.id, 'life', record.life, Life.ALIVE, window)];
    for (const name of ['version', 'total', 'failed'] as const) {
      const value = item[name];
      if (value !== undefined) verdicts.push(this.see(item.id, name, record[name], value, window));
    }
    const { pair } = record;
    if (pair && item.marker !== undefined)
      verdicts.push(this.see(pair.bots[0].id, 'marker', pair.marker, item.marker, window));
    if (item.isGone === true) window.moment?.see(`life of ${item.id}`, Life.DELETED, record.life);
    findings.record(worstOf(verdicts), () => `${JSON.stringify(item)} in ${view} of ${window.server}`);
  }

  /** Checks one quantity, and remembers that it was shown. */
  private see(id: string, name: string, register: Register, value: number, window: Window): Verdict {
    const verdict = register.check(value, window.from);
    register.isShown(value, window.to);
    window.moment?.see(`${name} of ${id}`, value, register);
    return verdict;
  }

  /** A whole answer has been observed, and is checked for the moments that it shows. */
  observeMoment({ moment, to, server }: Window): void {
    if (!moment) return;
    const { fractures } = moment;
    const ageMs = Math.max(0, ...fractures.map(({ register, lower }) => register?.ageOf(lower, to) ?? 0));
    const texts = fractures.map(({ thing, lower, higher }) => `${thing} is ${lower} and ${higher}`);
    this.findings.recordAnswer(texts, ageMs, server);
  }

  /** A read has found that there is no such bot. */
  observeAbsence(view: View, record: BotRecord, window: Window): void {
    this.findings.count(view);
    this.checkAbsence(view, record, window);
  }

  /**
   * A read has returned a list.
   * @param completeness `all`: all bots of the organization must be in it; a term: all whose names contain it; `part`: any.
   */
  observeList(
    view: View,
    orgId: string,
    items: readonly Item[],
    window: Window,
    completeness: 'all' | Term | 'part',
  ): void {
    const there = new Set<string>();
    for (const item of items) {
      there.add(item.id);
      this.observe(view, item, orgId, window);
    }
    if (completeness === 'part') return;
    for (const record of this.livingOf(orgId)) {
      if (there.has(record.id) || (completeness !== 'all' && record.term !== completeness)) continue;
      this.checkAbsence(view, record, window);
    }
  }

  /** A read has returned the statistics of an organization. */
  observeOrganization(orgId: string, seen: OrganizationFigures, window: Window): void {
    this.findings.count('org stats');
    const bots = [...this.bots.values()].filter((bot) => bot.orgId === orgId);
    for (const [name, value] of Object.entries(seen)) window.moment?.see(`${name} of ${orgId}`, value);
    this.findings.record(
      worstOf([...checkSums(bots, seen, window), this.sumsOf(orgId).check(seen, window)]),
      () => `${JSON.stringify(seen)} in org stats of ${window.server}`,
    );
  }

  /** A read has returned all bots of an organization, with their figures; the answer may also show their sums. */
  observeMembers(orgId: string, items: readonly Item[], { moment }: Window): void {
    const sum = (name: 'total' | 'failed') => items.reduce((total, item) => total + (item[name] ?? 0), 0);
    moment?.see(`bots of ${orgId}`, items.length);
    moment?.see(`total of ${orgId}`, sum('total'));
    moment?.see(`failed of ${orgId}`, sum('failed'));
  }

  private checkAbsence(view: View, record: BotRecord, window: Window): void {
    const life = record.lifeWhenAbsent(window.to);
    const verdict = record.life.check(life, window.from);
    // A bot that was not there yet is absent, too.
    const wasThere = (['answered', 'committed', 'shown'] as const).some(
      (known) => record.life.minAt(known, window.from) >= Life.ALIVE,
    );
    if (life === Life.DELETED && wasThere) record.life.isShown(life, window.to);
    window.moment?.see(`life of ${record.id}`, life, record.life);
    this.findings.record(verdict, () => `no bot ${record.id} in ${view} of ${window.server}`);
  }

  private sumsOf(orgId: string): GrowingSums {
    let sums = this.sums.get(orgId);
    if (!sums) this.sums.set(orgId, (sums = new GrowingSums()));
    return sums;
  }

  private livingOf(orgId: string): Set<BotRecord> {
    let living = this.living.get(orgId);
    if (!living) this.living.set(orgId, (living = new Set()));
    return living;
  }
}
