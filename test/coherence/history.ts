import { Findings, type Tolerance, type View } from './findings.js';
import { Life } from './life.js';
import { Register, worstOf, type Instant } from './register.js';
import { checkSums, type OrganizationFigures } from './sums.js';

/** When a read began and ended, and through which server. */
export interface Window {
  readonly from: Instant;
  readonly to: Instant;
  readonly server: string;
}

/** The growing quantities of a bot; a view may show only some. */
export interface Quantities {
  readonly version?: number;
  /** `totalMessages`, which grows as messages are recorded. */
  readonly total?: number;
  /** `failedMessages`, which grows as pending messages are marked as failed. */
  readonly failed?: number;
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
  private deletionBegunAt: Instant | undefined;

  constructor(
    readonly id: string,
    readonly orgId: string,
    readonly term: Term | undefined,
    initial: Required<Quantities> = { version: 1, total: 0, failed: 0 },
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
}

/**
 * Records what clients wrote and read, and checks each read at once: it must show every write that was answered before the
 * read began. All instants come from this process's monotonic clock. An answer's instant is taken after the answer arrived
 * and a read's before it is sent, so the checker never reports a correct read as stale.
 */
export class History {
  private readonly bots = new Map<string, BotRecord>();
  private readonly living = new Map<string, Set<BotRecord>>();

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
    record.deletionBegins(at);
    this.livingOf(record.orgId).delete(record);
  }

  isDeleted(record: BotRecord, at: Instant): void {
    record.life.isAnswered(Life.DELETED, at);
  }

  /** The database was seen to hold these bots of an organization, and no others. */
  isCommitted(orgId: string, items: readonly Required<Item>[], at: Instant): void {
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
        record.life.isCommitted(Life.DELETED, at);
      }
    }
  }

  /** A read has returned a bot. */
  observe(view: View, item: Item, orgId: string, window: Window): void {
    const { findings } = this;
    const record = this.learn(new BotRecord(item.id, orgId, undefined));
    findings.count(view);
    const verdicts = [record.life.check(Life.ALIVE, window.from)];
    if (item.version !== undefined) verdicts.push(record.version.check(item.version, window.from));
    if (item.total !== undefined) verdicts.push(record.total.check(item.total, window.from));
    if (item.failed !== undefined) verdicts.push(record.failed.check(item.failed, window.from));
    findings.record(worstOf(verdicts), () => `${JSON.stringify(item)} in ${view} of ${window.server}`);
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
    this.findings.record(
      worstOf(checkSums(bots, seen, window)),
      () => `${JSON.stringify(seen)} in org stats of ${window.server}`,
    );
  }

  private checkAbsence(view: View, record: BotRecord, window: Window): void {
    this.findings.record(
      record.life.check(record.lifeWhenAbsent(window.to), window.from),
      () => `no bot ${record.id} in ${view} of ${window.server}`,
    );
  }

  private livingOf(orgId: string): Set<BotRecord> {
    let living = this.living.get(orgId);
    if (!living) this.living.set(orgId, (living = new Set()));
    return living;
  }
}
