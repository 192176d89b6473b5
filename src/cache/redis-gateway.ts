import type { Logger } from 'pino';

import { Deadlines } from './deadlines.js';
import { CacheUnavailableError } from './errors.js';
import { proveUsable, type RedisClient } from './redis-client.js';
import type { CacheObserver, RedisOperation } from './observer.js';

/** Replies of a server that is there but cannot serve: it is loading, a replica by now, or its cluster is incomplete. */
const CANNOT_SERVE = /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|NOAUTH|MISCONF)\b/;

const FIRST_PROBE_MS = 50;
/** A first connection that takes longer than this is an outage; the client gives up on a server that is silent before. */
const FIRST_CONNECTION_MS = 3_000;
const LONGEST_PROBE_MS = 1_000;
/** After this many probes without an answer the connection itself is suspected and replaced. */
const PROBES_BEFORE_RECONNECT = 3;
/** A refusal of the same kind is logged again after this long (ms). */
const REFUSAL_LOG_PAUSE_MS = 60_000;
/** A circuit that opens again this soon after closing is probed after a longer pause each time. */
const STABLE_AFTER_MS = 5_000;

/**
 * The one place that decides what a failing Redis means.
 *
 * Every call has a deadline of our own (the client's timeout leaves calls that hang in some states, and a cluster's
 * offline queue ignores it). The first call that runs out, or finds the connection gone, opens the circuit for the
 * whole process: calls after it fail at once, and a background probe with growing, jittered pauses closes it again.
 * So a frozen Redis costs one deadline, not one for each resolver.
 *
 * A call that timed out may still run later in Redis. That is harmless by design: fills check their generation when
 * they run, and every other command only takes values away.
 */
export class RedisGateway {
  private readonly deadlines: Deadlines;
  private open = true;
  private reason = 'not connected yet';
  private probeTimer: NodeJS.Timeout | undefined;
  private probing: Promise<void> | undefined;
  private probePauseMs = FIRST_PROBE_MS;
  private probesUnanswered = 0;
  private closedAt = 0;
  private stopped = false;
  private readonly recoveries: (() => Promise<void>)[] = [];
  private announced = false;
  private readonly waiters = new Set<() => void>();
  /** When a kind of refusal was last logged. */
  private readonly refusals = new Map<string, number>();

  constructor(
    private readonly client: RedisClient,
    private readonly options: {
      readonly timeoutMs: number;
      readonly probeKey: string;
      readonly log: Logger;
      readonly observer: CacheObserver;
    },
  ) {
    this.deadlines = new Deadlines(options.timeoutMs);
    client.on('error', (error: Error) => this.trip(error.message || error.name));
    client.on('close', () => this.trip('connection closed'));
    // A cluster is used as a whole: every process that was connected to the node notices at the same time.
    client.on('-node', (node: { options: { readOnly?: boolean } }) => {
      if (node.options.readOnly !== true) this.trip('connection to a node of the cluster closed');
    });
    client.on('ready', () => this.probeSoon(0));
    this.probeSoon(FIRST_CONNECTION_MS);
  }

  /** Whether calls go through now. */
  get available(): boolean {
    return !this.open;
  }

  /** Why the circuit is open; undefined while it is closed. */
  get outage(): string | undefined {
    return this.open ? this.reason : undefined;
  }

  /** Registers work to be done after an outage, before anyone reads from Redis again. It must use {@link attempt}. */
  beforeRecovery(work: () => Promise<void>): void {
    this.recoveries.push(work);
  }

  /** Waits until calls go through, `timeoutMs` at most. Returns whether they do. */
  async ready(timeoutMs: number): Promise<boolean> {
    if (!this.open) return true;
    return await new Promise<boolean>((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.waiters.delete(finish);
        resolve(!this.open);
      };
      const timer = setTimeout(finish, timeoutMs);
      this.waiters.add(finish);
    });
  }

  /**
   * Runs one operation, which is one round trip.
   * @throws CacheUnavailableError if the circuit is open, the deadline passes or Redis answers with an error.
   */
  async run<T>(operation: RedisOperation, call: (client: RedisClient) => Promise<T>): Promise<T> {
    if (this.open) throw new CacheUnavailableError(this.reason);
    return await this.attempt(operation, call);
  }

  /** As {@link run}, but also while the circuit is open. */
  async attempt<T>(operation: RedisOperation, call: (client: RedisClient) => Promise<T>): Promise<T> {
    const { observer, timeoutMs } = this.options;
    observer.roundTrip(operation);
    let timedOut = false;
    try {
      return await this.deadlines.limit(call(this.client), () => {
        timedOut = true;
        return new CacheUnavailableError(`no answer to ${operation} within ${timeoutMs} ms`);
      });
    } catch (cause) {
      const error = cause as Error;
      observer.redisFailure(operation, timedOut ? 'timeout' : 'error');
      const isReply = error.name === 'ReplyError';
      if (!isReply || CANNOT_SERVE.test(error.message)) this.trip(error.message);
      else this.logRefusal(operation, error.message);
      throw timedOut ? error : new CacheUnavailableError(error.message, { cause });
    }
  }

  /** Stops probing. The client is the caller's to close. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.probeTimer);
    this.waiters.forEach((finish) => finish());
  }

  /** A Redis that is full, for instance, refuses every fill: once in a while is enough to know. */
  private logRefusal(operation: RedisOperation, reason: string): void {
    const kind = `${operation} ${reason.split(' ', 1)[0]}`;
    const loggedAt = this.refusals.get(kind);
    if (loggedAt !== undefined && performance.now() - loggedAt < REFUSAL_LOG_PAUSE_MS) return;
    this.refusals.set(kind, performance.now());
    this.options.log.warn({ operation, reason }, 'Redis refused a cache operation');
  }

  private trip(reason: string): void {
    if (this.stopped) return;
    if (!this.open) {
      this.open = true;
      const wasStable = performance.now() - this.closedAt > STABLE_AFTER_MS;
      this.probePauseMs = wasStable ? FIRST_PROBE_MS : Math.min(this.probePauseMs * 2, LONGEST_PROBE_MS);
      this.options.observer.available(false);
      this.announced = true;
      this.options.log.warn({ reason }, 'Redis unavailable: answering from PostgreSQL');
      this.probeSoon(this.probePauseMs);
    } else if (!this.announced) {
      this.announced = true;
      this.options.log.warn({ reason }, 'Redis unavailable: answering from PostgreSQL');
    }
    this.reason = reason;
  }

  private probeSoon(pauseMs: number): void {
    if (this.stopped || !this.open) return;
    clearTimeout(this.probeTimer);
    this.probeTimer = setTimeout(
      () => {
        this.probing ??= this.probe().finally(() => {
          this.probing = undefined;
          this.probeSoon(this.probePauseMs);
        });
      },
      pauseMs * (0.5 + Math.random() / 2),
    );
    this.probeTimer.unref();
  }

  /** One try to come back. */
  private async probe(): Promise<void> {
    // Connected, be it that the server has not answered the client's greeting yet: that may be a dead connection, too.
    const isConnected = this.client.status === 'ready' || this.client.status === 'connect';
    // The client gives up for good if a Sentinel tells it of a failover while it is connecting.
    if (this.client.status === 'end') this.client.connect().catch(() => undefined);
    try {
      await this.attempt('probe', async (client) => await proveUsable(client, this.options.probeKey));
      for (const work of this.recoveries) await work();
    } catch {
      // The failed attempt was counted, and the outage was logged when the circuit opened.
      this.probePauseMs = Math.min(this.probePauseMs * 2, LONGEST_PROBE_MS);
      this.probesUnanswered = isConnected ? this.probesUnanswered + 1 : 0;
      if (this.probesUnanswered >= PROBES_BEFORE_RECONNECT) {
        this.probesUnanswered = 0;
        this.client.disconnect(true);
      }
      return;
    }
    this.open = false;
    this.closedAt = performance.now();
    this.probesUnanswered = 0;
    this.options.observer.available(true);
    if (this.announced) this.options.log.info('Redis available again');
    this.announced = false;
    this.waiters.forEach((finish) => finish());
  }
}
