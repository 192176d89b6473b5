import { setTimeout as sleep } from 'node:timers/promises';

import type { Work } from '../cache/core/work.js';
import { FairShares, nextOf, type Use, type Waiting } from '../overload/fair-shares.js';
import { openDriver, type Sql } from './driver.js';
import { rememberEndpointKind } from './endpoint-kind.js';
import { StatementError } from './failures.js';
import { askEndpointKind, findEndpointKind } from './pooler-detection.js';

/** A connection is replaced after 100 to 150 % of this time (ms). */
const LIFETIME_MS = 30 * 60_000;
const CLOSE_POLL_MS = 5;

/**
 * Some connections are left to others, whoever uses the rest. Statements that take long are slow for PostgreSQL as well,
 * so those who send many of them get few connections while others are active.
 */
const SHARES = { caller: 0.8, group: 0.8, heavyCaller: 0.1, heavyGroup: 0.2 };

export interface PoolOptions {
  readonly url: string;
  readonly max: number;
  /** How long a statement waits for a connection (ms). */
  readonly waitMs: number;
  /** How long opening a connection may take in all (ms). */
  readonly openMs: number;
  readonly sessionSettings: Readonly<Record<string, string>>;
  /** Called when a statement has got a connection. @param seconds that it waited */
  readonly onConnection?: ((seconds: number) => void) | undefined;
}

/** The connections of a pool at one moment. */
export interface PoolState {
  readonly max: number;
  /** Connections that execute a statement or belong to a transaction. */
  readonly inUse: number;
  readonly idle: number;
  /** Statements that wait for a connection. */
  readonly waiting: number;
}

/** One connection to PostgreSQL. */
interface Entry {
  readonly driver: Sql;
  readonly retireAt: number;
}

interface Wanted extends Waiting {
  readonly isRead: boolean;
}

interface Waiter extends Wanted {
  readonly resolve: (lease: Lease) => void;
  readonly reject: (error: unknown) => void;
  /** Ends the limits of the wait. */
  readonly settled: () => void;
}

/** A connection in use by one statement. */
export interface Lease {
  readonly entry: Entry;
  readonly isRead: boolean;
  readonly use: Use;
}

/**
 * Connections that serve one statement at a time. The driver's own pool queues statements behind running ones on the
 * same connection. There they wait as long as those do, for instance for a lock, and without a limit. Callers get fair
 * shares of the connections.
 */
export class ConnectionPool {
  /** All open connections, idle or in use. */
  private readonly open = new Set<Entry>();
  private readonly idle: Entry[] = [];
  private readonly waiting = new Set<Waiter>();
  private opening = 0;
  private writing = 0;
  private isClosed = false;
  /** Writes wait for locks. Some connections are reserved for reads, which do not. */
  private readonly maxWriting: number;
  private readonly reads: FairShares;
  private readonly writes: FairShares;

  constructor(private readonly options: PoolOptions) {
    this.maxWriting = Math.max(1, Math.floor(options.max * 0.75));
    this.reads = new FairShares({ capacity: options.max, ...SHARES });
    this.writes = new FairShares({ capacity: this.maxWriting, ...SHARES });
  }

  /**
   * @param work whose share the connection belongs to; nobody waits on after the end of its demand
   * @throws StatementError POOL_TIMEOUT if no connection becomes free in time; any error of opening one; the reason why
   * the demand ended
   */
  async acquire(isRead: boolean, { consumer, demand }: Work = {}): Promise<Lease> {
    if (this.isClosed)
      throw new StatementError('NOT_CONNECTED', 'The connections to the database are closed');
    if (demand?.end) throw demand.end;
    const now = performance.now();
    const wanted: Wanted = { isRead, consumer, since: now };
    this.sharesOf(isRead).asked(consumer, now);
    const entry = this.placeOf(wanted, now) < Infinity ? this.idle.pop() : undefined;
    if (entry) return this.lease(entry, wanted, now);
    return await new Promise<Lease>((resolve, reject) => {
      const { waitMs } = this.options;
      let takeBack: (() => void) | undefined;
      const giveUp = (error: Error) => {
        settled();
        reject(error);
      };
      const tooLong = () =>
        giveUp(new StatementError('POOL_TIMEOUT', `No connection became free within ${waitMs} ms`));
      const timer = setTimeout(tooLong, waitMs);
      const settled = () => {
        this.waiting.delete(waiter);
        clearTimeout(timer);
        takeBack?.();
      };
      const waiter: Waiter = { ...wanted, resolve, reject, settled };
      this.waiting.add(waiter);
      takeBack = demand?.onEnd(giveUp);
      this.openForWaiters();
    });
  }

  get state(): PoolState {
    const { open, idle, waiting } = this;
    return {
      max: this.options.max,
      inUse: open.size - idle.length,
      idle: idle.length,
      waiting: waiting.size,
    };
  }

  /** Whether the connection is still the one that was taken. A driver whose connection was lost opens another. */
  isOpen({ entry }: Lease): boolean {
    return this.open.has(entry);
  }

  /** Returns a connection that may be used again. */
  release(lease: Lease): void {
    this.returned(lease);
    const { entry } = lease;
    if (this.isClosed || performance.now() > entry.retireAt) this.remove(entry);
    else if (this.open.has(entry)) this.idle.push(entry);
    this.serve();
  }

  /** Returns a connection that must not be used again. Statements under way on it fail. */
  discard(lease: Lease): void {
    this.returned(lease);
    this.remove(lease.entry);
    this.serve();
  }

  /** Replaces the idle connections, because one of the same age turned out to be dead. */
  discardIdle(): void {
    for (const entry of this.idle.splice(0)) this.remove(entry);
  }

  /** Waits for running statements for at most `timeoutMs`, and disconnects. */
  async close(timeoutMs: number): Promise<void> {
    this.isClosed = true;
    this.discardIdle();
    const deadline = performance.now() + timeoutMs;
    while (this.open.size > 0 && performance.now() < deadline) await sleep(CLOSE_POLL_MS);
    for (const entry of this.open) this.remove(entry);
  }

  private lease(entry: Entry, { isRead, consumer, since }: Wanted, now: number): Lease {
    this.options.onConnection?.((now - since) / 1_000);
    if (!isRead) this.writing += 1;
    return { entry, isRead, use: this.sharesOf(isRead).take(consumer, now) };
  }

  private returned({ isRead, use }: Lease): void {
    if (!isRead) this.writing -= 1;
    use.end();
  }

  /** Reads do not count against writes, so that nobody's reads wait for locks that their writes wait for. */
  private sharesOf(isRead: boolean): FairShares {
    return isRead ? this.reads : this.writes;
  }

  /** See {@link FairShares.placeOf}. */
  private placeOf(wanted: Wanted, now: number): number {
    if (!wanted.isRead && this.writing >= this.maxWriting) return Infinity;
    return this.sharesOf(wanted.isRead).placeOf(wanted, now);
  }

  /** Gives idle connections to the callers that have used the least, or have waited longest. */
  private serve(): void {
    while (this.idle.length > 0 && this.waiting.size > 0) {
      const now = performance.now();
      const waiter = nextOf(this.waiting, (each) => this.placeOf(each, now));
      if (!waiter) break;
      waiter.settled();
      waiter.resolve(this.lease(this.idle.pop() as Entry, waiter, now));
    }
    this.openForWaiters();
  }

  private openForWaiters(): void {
    const now = performance.now();
    let wanted = 0;
    let writes = this.writing;
    for (const { isRead, consumer } of this.waiting) {
      if (wanted >= this.options.max) break;
      const mayTake = this.sharesOf(isRead).mayTake(consumer, now);
      if ((isRead || writes < this.maxWriting) && mayTake) wanted += 1;
      if (!isRead) writes += 1;
    }
    while (!this.isClosed && this.opening < wanted && this.open.size + this.opening < this.options.max) {
      this.opening += 1;
      void this.openOne();
    }
  }

  /**
   * Opens a connection for the caller that has waited longest by then. If opening fails, that caller gets the error.
   */
  private async openOne(): Promise<void> {
    try {
      const entry = await this.connect();
      if (this.isClosed) this.remove(entry);
      else this.idle.push(entry);
    } catch (cause) {
      const [waiter] = this.waiting;
      if (waiter) {
        waiter.settled();
        waiter.reject(new StatementError('NOT_CONNECTED', 'No connection to the database', { cause }));
      }
    }
    this.opening -= 1;
    this.serve();
  }

  /** Opens a connection and checks that the server answers. */
  private async connect(): Promise<Entry> {
    const { url, sessionSettings, openMs } = this.options;
    const expected = await findEndpointKind(url);
    const driver = openDriver(url, {
      max: 1,
      max_lifetime: null,
      connection: { application_name: 'flovo-bots' },
      sessionSettings,
      onclose: () => this.lost(entry),
    });
    const entry: Entry = { driver, retireAt: performance.now() + LIFETIME_MS * (1 + Math.random() / 2) };
    const timer = setTimeout(() => giveUp(driver), openMs);
    try {
      const kind = await askEndpointKind(driver);
      rememberEndpointKind(url, kind);
      if (kind === 'pooled' && expected === 'direct') throw new Error('The connection now leads to a pooler');
    } catch (error) {
      giveUp(driver);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.open.add(entry);
    return entry;
  }

  /** Removes a connection that the database or the network has closed. */
  private lost(entry: Entry): void {
    const at = this.idle.indexOf(entry);
    if (at >= 0) this.idle.splice(at, 1);
    this.remove(entry);
    this.openForWaiters();
  }

  private remove(entry: Entry): void {
    if (this.open.delete(entry)) giveUp(entry.driver);
  }
}

/** Disconnects at once. Statements under way fail. */
function giveUp(driver: Sql): void {
  driver.end({ timeout: 0 }).catch(() => undefined);
}
