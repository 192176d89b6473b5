import { setTimeout as sleep } from 'node:timers/promises';

import { openDriver, type Sql } from './driver.js';
import { rememberEndpointKind } from './endpoint-kind.js';
import { StatementError } from './failures.js';
import { askEndpointKind, findEndpointKind } from './pooler-detection.js';

/** A connection is replaced after this long (ms), and up to half as long again. */
const LIFETIME_MS = 30 * 60_000;
const CLOSE_POLL_MS = 5;

export interface PoolOptions {
  readonly url: string;
  readonly max: number;
  /** How long a statement waits for a connection (ms). */
  readonly waitMs: number;
  /** How long opening a connection may take in all (ms). */
  readonly openMs: number;
  readonly sessionSettings: Readonly<Record<string, string>>;
}

/** One connection to PostgreSQL. */
interface Entry {
  readonly driver: Sql;
  readonly retireAt: number;
}

interface Waiter {
  readonly isRead: boolean;
  readonly resolve: (lease: Lease) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** A connection in use by one statement. */
export interface Lease {
  readonly entry: Entry;
  readonly isRead: boolean;
}

/**
 * Connections that serve one statement at a time. The driver's own pool sends statements behind running ones on the same
 * connection, where they wait as long as those do, be it for another's lock; and it lets them wait without an end.
 */
export class ConnectionPool {
  /** Those that are open, whether in use or not. */
  private readonly open = new Set<Entry>();
  private readonly idle: Entry[] = [];
  private readonly waiting = new Set<Waiter>();
  private opening = 0;
  private writing = 0;
  private isClosed = false;
  /** Writes wait for locks; some connections are kept for reads, which wait for nobody. */
  private readonly maxWriting: number;

  constructor(private readonly options: PoolOptions) {
    this.maxWriting = Math.max(1, Math.floor(options.max * 0.75));
  }

  /** @throws StatementError POOL_TIMEOUT if no connection becomes free in time; what opening one throws */
  async acquire(isRead: boolean): Promise<Lease> {
    if (this.isClosed)
      throw new StatementError('NOT_CONNECTED', 'The connections to the database are closed');
    const mayHaveOne = isRead || this.writing < this.maxWriting;
    const entry = mayHaveOne ? this.idle.pop() : undefined;
    if (entry) return this.lease(entry, isRead);
    return await new Promise<Lease>((resolve, reject) => {
      const { waitMs } = this.options;
      const waiter: Waiter = {
        isRead,
        resolve,
        reject,
        timer: setTimeout(() => {
          this.waiting.delete(waiter);
          reject(new StatementError('POOL_TIMEOUT', `No connection became free within ${waitMs} ms`));
        }, waitMs),
      };
      this.waiting.add(waiter);
      this.openForWaiters();
    });
  }

  /** Gives a connection back that may be used again. */
  release(lease: Lease): void {
    this.returned(lease);
    const { entry } = lease;
    if (this.isClosed || performance.now() > entry.retireAt) this.remove(entry);
    else if (this.open.has(entry)) this.idle.push(entry);
    this.serve();
  }

  /** Gives a connection back that must not be used again. What is under way on it is given up. */
  discard(lease: Lease): void {
    this.returned(lease);
    this.remove(lease.entry);
    this.serve();
  }

  /** Replaces the connections that are not in use: one of the same age has turned out to lead nowhere. */
  discardIdle(): void {
    for (const entry of this.idle.splice(0)) this.remove(entry);
  }

  /** Waits for running statements, `timeoutMs` at most, and disconnects. */
  async close(timeoutMs: number): Promise<void> {
    this.isClosed = true;
    this.discardIdle();
    const deadline = performance.now() + timeoutMs;
    while (this.open.size > 0 && performance.now() < deadline) await sleep(CLOSE_POLL_MS);
    for (const entry of this.open) this.remove(entry);
  }

  private lease(entry: Entry, isRead: boolean): Lease {
    if (!isRead) this.writing += 1;
    return { entry, isRead };
  }

  private returned({ isRead }: Lease): void {
    if (!isRead) this.writing -= 1;
  }

  /** Hands connections that are not in use to those who have waited longest. */
  private serve(): void {
    for (const waiter of this.waiting) {
      if (this.idle.length === 0) break;
      if (!waiter.isRead && this.writing >= this.maxWriting) continue;
      this.waiting.delete(waiter);
      clearTimeout(waiter.timer);
      waiter.resolve(this.lease(this.idle.pop() as Entry, waiter.isRead));
    }
    this.openForWaiters();
  }

  private openForWaiters(): void {
    let wanted = 0;
    let writes = this.writing;
    for (const { isRead } of this.waiting) {
      if (wanted >= this.options.max) break;
      if (isRead || writes < this.maxWriting) wanted += 1;
      if (!isRead) writes += 1;
    }
    while (!this.isClosed && this.opening < wanted && this.open.size + this.opening < this.options.max) {
      this.opening += 1;
      void this.openOne();
    }
  }

  /** Opens a connection for whoever waits longest by then; if it fails, they are told. */
  private async openOne(): Promise<void> {
    try {
      const entry = await this.connect();
      if (this.isClosed) this.remove(entry);
      else this.idle.push(entry);
    } catch (cause) {
      const [waiter] = this.waiting;
      if (waiter) {
        this.waiting.delete(waiter);
        clearTimeout(waiter.timer);
        waiter.reject(new StatementError('NOT_CONNECTED', 'No connection to the database', { cause }));
      }
    }
    this.opening -= 1;
    this.serve();
  }

  /** Opens a connection and makes sure that it answers. */
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
      if (kind === 'pooled' && expected === 'direct')
        throw new Error('The connection leads to a pooler by now');
    } catch (error) {
      giveUp(driver);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    this.open.add(entry);
    return entry;
  }

  /** The database or the network has closed a connection. */
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

/** Disconnects at once. What is still under way fails. */
function giveUp(driver: Sql): void {
  driver.end({ timeout: 0 }).catch(() => undefined);
}
