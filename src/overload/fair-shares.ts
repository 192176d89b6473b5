import { LRUCache } from 'lru-cache';

import type { Consumer } from '../cache/core/work.js';

/** Half of what somebody has used is forgotten after this time (ms). */
const HALF_LIFE_MS = 1_000;
/** Whoever asked within this time (ms) is active: what is limited is shared with them. */
const ACTIVE_MS = 1_000;
/** Uses of this mean length (ms) make others wait noticeably. */
const LONG_USE_MS = 25;
/** Whoever uses more than this (ms of use, decayed) is a heavy user; one use all the time adds up to 1,440. */
const HEAVY_MS = 500;
const MAX_ACCOUNTS = 10_000;

/** What one consumer uses, and has used lately. */
class Account {
  inUse = 0;
  /** The mean length of a use (ms): each counts a fifth of those before. */
  meanMs = 0;
  /** The sum of the moments at which the uses under way began. */
  private begun = 0;
  private usedMs = 0;
  private at = 0;

  begin(now: number): void {
    this.inUse += 1;
    this.begun += now;
  }

  end(since: number, now: number): void {
    const ms = now - since;
    this.usedMs = this.decayed(now) + ms;
    this.at = now;
    this.meanMs += (ms - this.meanMs) / 5;
    this.inUse -= 1;
    this.begun -= since;
  }

  /** The time of use (ms), of which half is forgotten each second, with the uses under way. */
  usedAt(now: number): number {
    return this.decayed(now) + this.inUse * now - this.begun;
  }

  isHeavy(now: number): boolean {
    const lengthMs = this.inUse > 0 ? Math.max(this.meanMs, now - this.begun / this.inUse) : this.meanMs;
    return lengthMs > LONG_USE_MS && this.usedAt(now) > HEAVY_MS;
  }

  private decayed(now: number): number {
    return this.usedMs * 2 ** ((this.at - now) / HALF_LIFE_MS);
  }
}

/** The shares of those who are told apart by one name. */
class Level {
  private readonly accounts = new LRUCache<string, Account>({ max: MAX_ACCOUNTS });
  /** Who asked last, and who asked last of all others, and when. */
  private latest = { name: '', at: -Infinity };
  private other = { name: '', at: -Infinity };

  /**
   * @param most what one may use
   * @param heavyMost what one may use who uses it much and long, while others are active
   */
  constructor(
    private readonly most: number,
    private readonly heavyMost: number,
  ) {}

  account(name: string): Account {
    let account = this.accounts.get(name);
    if (!account) this.accounts.set(name, (account = new Account()));
    return account;
  }

  asked(name: string, now: number): void {
    if (name !== this.latest.name) {
      this.other = this.latest;
      this.latest = { name, at: now };
    } else this.latest.at = now;
  }

  mayTake(name: string, now: number): boolean {
    const account = this.account(name);
    if (account.inUse < this.heavyMost) return true;
    if (account.inUse >= this.most) return false;
    const othersAt = name === this.latest.name ? this.other.at : this.latest.at;
    return now - othersAt > ACTIVE_MS || !account.isHeavy(now);
  }
}

/** What one takes until it ends. */
export interface Use {
  end(): void;
}

const NOBODYS: Use = { end: () => {} };

export interface ShareLimits {
  /** The number of uses at a time, of all together. */
  readonly capacity: number;
  /** The part of it that one caller, and one group, may use. */
  readonly caller: number;
  readonly group: number;
  /** The part that is left to those who use it long and much, while others are active. */
  readonly heavyCaller: number;
  readonly heavyGroup: number;
}

/**
 * Shares something limited among callers, and among groups of callers: nobody can take all of it, those who hold it long
 * get less while others want it, and those who have used the least are the next. Uses of nobody in particular are not
 * limited here.
 */
export class FairShares {
  private readonly callers: Level;
  private readonly groups: Level;

  constructor({ capacity, caller, group, heavyCaller, heavyGroup }: ShareLimits) {
    const part = (share: number) => Math.max(1, Math.floor(capacity * share));
    this.callers = new Level(part(caller), part(heavyCaller));
    this.groups = new Level(part(group), part(heavyGroup));
  }

  /** Notes that a consumer wants something, whether it gets it or not. */
  asked(consumer: Consumer | undefined, now: number): void {
    if (!consumer) return;
    this.callers.asked(consumer.caller, now);
    this.groups.asked(consumer.group, now);
  }

  mayTake(consumer: Consumer | undefined, now: number): boolean {
    return (
      !consumer || (this.callers.mayTake(consumer.caller, now) && this.groups.mayTake(consumer.group, now))
    );
  }

  take(consumer: Consumer | undefined, now: number): Use {
    if (!consumer) return NOBODYS;
    const accounts = [this.callers.account(consumer.caller), this.groups.account(consumer.group)];
    for (const account of accounts) account.begin(now);
    return {
      end() {
        const endsAt = performance.now();
        for (const account of accounts) account.end(now, endsAt);
      },
    };
  }

  /**
   * The place of one who waits: the lowest is the next. Infinity: not now. Having waited counts as much as having used
   * less, so that nobody waits for ever.
   */
  placeOf({ consumer, since }: Waiting, now: number): number {
    if (!this.mayTake(consumer, now)) return Infinity;
    if (!consumer) return since - now;
    const { caller, group } = consumer;
    return this.groups.account(group).usedAt(now) + this.callers.account(caller).usedAt(now) + since - now;
  }
}

/** Who waits, and since when (as `performance.now()` tells it). */
export interface Waiting {
  readonly consumer: Consumer | undefined;
  readonly since: number;
}

/** The one of those who wait whose place is the lowest; undefined if nobody may take anything now. */
export function nextOf<Waiter extends Waiting>(
  waiting: Iterable<Waiter>,
  placeOf: (waiter: Waiter) => number,
): Waiter | undefined {
  let next: Waiter | undefined;
  let lowest = Infinity;
  for (const waiter of waiting) {
    const place = placeOf(waiter);
    if (place < lowest) [next, lowest] = [waiter, place];
  }
  return next;
}
