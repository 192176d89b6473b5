import type { Logger } from '../core/logger.js';

import { SharedTimeout } from './shared-timeout.js';
import { CacheUnavailableError } from '../core/errors.js';
import { InFlightLimit } from './in-flight-limit.js';
import type { KeyExample } from '../core/keys.js';
import type { CacheObserver, RedisOperation, RedisState } from '../core/observer.js';
import { currentWork, within } from '../core/work.js';
import { describeConnectionError, type RedisClient } from './redis-client.js';
import { proveUsable } from './redis-proof.js';
import { isReply, refusalOf, saysUnavailable, type RedisRefusalError } from './redis-refusal.js';

const FIRST_PROBE_MS = 50;
/** After this long, the first connection counts as an outage (ms); the client gives up on a silent server earlier. */
const FIRST_CONNECTION_MS = 3_000;
const MAX_PROBE_MS = 1_000;
/** The maximum pause between probes of a Redis that refuses a command (ms): a refusal seldom ends soon. */
const MAX_REFUSED_PROBE_MS = 5_000;
/** After this many lost connections in a row, a Redis that refused a command counts as down. */
const LOSSES_WHILE_REFUSED = 3;
/** After this many probes without a reply, the connection is replaced, because it may be dead. */
const PROBES_BEFORE_RECONNECT = 3;
/** How long a refusal of the same kind is not logged again (ms). */
const REFUSAL_LOG_PAUSE_MS = 60_000;
/**
 * Operations that no request waits for. Their timeout is longer, because they are largest when Redis and this process
 * are busiest. They have their own limit of work in flight, so that requests do not wait for them.
 */
const BACKGROUND: ReadonlySet<RedisOperation> = new Set(['fill', 'release', 'sweep']);
const BACKGROUND_PATIENCE = 10;
/** Errors of a missing connection that do not give the reason. */
const SAYS_NO_REASON =
  /^(Stream isn't writeable|connection closed|connection to a node)|connection is closed|slots cache\.$|timeout\)?$/i;
/** How long after the start such a failure is not logged, because the reason may follow (ms). */
const MAX_SILENCE_MS = 3_000;
/**
 * The maximum cost of this process's work under way at Redis, see `costOf`: a few milliseconds, far below any
 * timeout.
 */
const MAX_IN_FLIGHT = 2_000;
/** A circuit that opens again this soon after closing is probed after a longer pause each time (ms). */
const STABLE_AFTER_MS = 5_000;

/**
 * Decides for the whole process what a failing Redis means.
 *
 * Every call has a timeout of its own: the client's timeout does not end calls in some states, and a cluster's
 * offline queue ignores it. The first call that times out, or finds the connection lost, opens the circuit for the
 * whole process: later calls fail at once, and a background probe with growing, jittered pauses closes the circuit
 * again. So a frozen Redis costs one timeout, not one for each resolver.
 *
 * If Redis replies, but refuses something that the cache needs (a right, a command, memory), it is `degraded`, and
 * the cache does not use it. Only invalidations are still sent, unless Redis refuses those, so that processes with
 * more rights read nothing outdated.
 *
 * A call that timed out may still run later in Redis. That is harmless: fills check their generation when they run, and
 * other commands remove values, make generations that no stored value carries, or add transactions to generations,
 * which never makes an outdated value current. Replacements keep the newer of two values, by their versions.
 */
export class RedisCircuitBreaker {
  private readonly deadlines: SharedTimeout;
  private readonly backgroundDeadlines: SharedTimeout;
  private current: RedisState = 'down';
  private reason = 'not connected yet';
  private refused: RedisRefusalError | undefined;
  /** Redis refused invalidations: none is sent before the next probe has succeeded. */
  private refusesInvalidations = false;
  private lossesWhileRefused = 0;
  private readonly madeAt = performance.now();
  private readonly inFlight = new InFlightLimit(MAX_IN_FLIGHT);
  private readonly inFlightBehind = new InFlightLimit(MAX_IN_FLIGHT / 2);
  private probeTimer: NodeJS.Timeout | undefined;
  private probing: Promise<void> | undefined;
  private probePauseMs = FIRST_PROBE_MS;
  private probesUnanswered = 0;
  private closedAt = 0;
  private stopped = false;
  private readonly recoveries: (() => Promise<void>)[] = [];
  /** The last state that was logged, except `up`. */
  private announced: RedisState | undefined;
  /** Why a node of a cluster could not be reached: the client only says that it reached none. */
  private nodeFailure: string | undefined;
  private readonly waiters = new Set<() => void>();
  /** The time of the last log entry, for each kind of refusal. */
  private readonly refusals = new Map<string, number>();

  constructor(
    private readonly client: RedisClient,
    private readonly options: {
      readonly timeoutMs: number;
      /** Returns unused keys of an entity of this name, to try all commands that the cache needs. */
      readonly examples: (name: string) => readonly KeyExample[];
      readonly log: Logger;
      readonly observer: CacheObserver;
    },
  ) {
    this.deadlines = new SharedTimeout(options.timeoutMs);
    this.backgroundDeadlines = new SharedTimeout(options.timeoutMs * BACKGROUND_PATIENCE);
    client.on('error', (error: Error) => this.lose(describeConnectionError(error, this.nodeFailure)));
    client.on('close', () => this.lose(this.nodeFailure ?? 'connection closed'));
    client.on('node error', (error: Error, node: string) => {
      const reason = describeConnectionError(error);
      if (!SAYS_NO_REASON.test(reason)) this.nodeFailure = `${node}: ${reason}`;
    });
    // A cluster is used as a whole: every process that was connected to the node notices the loss at the same time.
    client.on('-node', (node: { options: { readOnly?: boolean } }) => {
      if (node.options.readOnly !== true)
        this.lose(this.nodeFailure ?? 'connection to a node of the cluster closed');
    });
    client.on('ready', () => this.probeSoon(this.current === 'degraded' ? this.probePauseMs : 0));
    this.probeSoon(FIRST_CONNECTION_MS);
  }

  /** Whether calls go through now. */
  get available(): boolean {
    return this.current === 'up';
  }

  get state(): RedisState {
    return this.current;
  }

  /** Why the circuit is open; undefined while it is closed. */
  get outage(): string | undefined {
    return this.current === 'up' ? undefined : this.reason;
  }

  /** What Redis refuses, in a form that may be shown to everybody; undefined while it refuses nothing. */
  get refusal(): string | undefined {
    return this.current === 'degraded' ? this.refused?.summary : undefined;
  }

  /** Registers work to do after an outage, before anyone reads from Redis again. The work must use {@link attempt}. */
  beforeRecovery(work: () => Promise<void>): void {
    this.recoveries.push(work);
  }

  /** Waits until calls go through, for at most `timeoutMs`. Returns whether they do. */
  async ready(timeoutMs: number): Promise<boolean> {
    if (this.available) return true;
    return await new Promise<boolean>((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.waiters.delete(finish);
        resolve(this.available);
      };
      const timer = setTimeout(finish, timeoutMs);
      this.waiters.add(finish);
    });
  }

  /**
   * Runs one operation, which is one round trip. If much is under way already, the operation waits for its turn; its
   * timeout starts then.
   * @param cost of the operation to Redis, see `costOf`.
   * @throws CacheUnavailableError if the circuit is open, the call times out or Redis replies with an error.
   */
  async run<T>(operation: RedisOperation, call: (client: RedisClient) => Promise<T>, cost = 1): Promise<T> {
    this.requireUsable(operation);
    const inFlight = BACKGROUND.has(operation) ? this.inFlightBehind : this.inFlight;
    const turn = inFlight.enter(cost);
    const work = currentWork();
    try {
      if (turn) {
        await turn;
        this.requireUsable(operation);
      }
      return await within(work, () => this.attempt(operation, call));
    } finally {
      inFlight.leave(cost);
    }
  }

  /** Degrades Redis after an operation replaced a refused command by another: the cache still needs the refused one. */
  noteRefusal(operation: RedisOperation, error: RedisRefusalError): void {
    this.options.observer.redisFailure(operation, 'refused');
    this.refuse(error);
  }

  private requireUsable(operation: RedisOperation): void {
    if (this.current === 'up') return;
    if (operation === 'invalidate' && this.current === 'degraded' && !this.refusesInvalidations) return;
    throw new CacheUnavailableError(this.reason);
  }

  /** As {@link run}, but also while the circuit is open. */
  async attempt<T>(operation: RedisOperation, call: (client: RedisClient) => Promise<T>): Promise<T> {
    const { observer } = this.options;
    const isBackground = BACKGROUND.has(operation);
    const deadlines = isBackground ? this.backgroundDeadlines : this.deadlines;
    const timeoutMs = this.options.timeoutMs * (isBackground ? BACKGROUND_PATIENCE : 1);
    observer.roundTrip(operation);
    const span = currentWork()?.span?.begin({ kind: 'redis', operation });
    const startedAt = performance.now();
    let timedOut = false;
    let failure: Error | undefined;
    try {
      return await deadlines.limit(call(this.client), () => {
        timedOut = true;
        return new CacheUnavailableError(`no answer to ${operation} within ${timeoutMs} ms`);
      });
    } catch (cause) {
      const error = (failure = cause as Error);
      const refusal = timedOut ? undefined : refusalOf(error);
      observer.redisFailure(operation, timedOut ? 'timeout' : refusal ? 'refused' : 'error');
      if (refusal) {
        if (operation === 'invalidate') this.refusesInvalidations = true;
        this.refuse(refusal);
      } else if (timedOut) this.trip('down', error.message);
      else if (this.current === 'degraded' && operation === 'invalidate' && isReply(error))
        this.refusesInvalidations = true;
      else if (saysUnavailable(error)) this.lose(describeConnectionError(error, this.nodeFailure), operation);
      else this.logRefusal(operation, error.message);
      throw timedOut ? error : new CacheUnavailableError(error.message, { cause });
    } finally {
      observer.roundTripEnded(operation, (performance.now() - startedAt) / 1_000);
      span?.end(failure);
    }
  }

  /** Stops probing. The caller closes the client. */
  stop(): void {
    this.stopped = true;
    clearTimeout(this.probeTimer);
    this.waiters.forEach((finish) => finish());
  }

  /** Limits the log: a Redis that is full, for instance, refuses every fill. */
  private logRefusal(operation: RedisOperation, reason: string): void {
    const kind = `${operation} ${reason.split(' ', 1)[0]}`;
    const loggedAt = this.refusals.get(kind);
    if (loggedAt !== undefined && performance.now() - loggedAt < REFUSAL_LOG_PAUSE_MS) return;
    this.refusals.set(kind, performance.now());
    this.options.log.warn({ operation, reason }, 'Redis refused a cache operation');
  }

  /** Opens the circuit: Redis, or the connection to it, is lost. */
  private lose(reason: string, operation?: RedisOperation): void {
    if (this.current === 'degraded') {
      // While degraded, Redis is not used. Single lost connections then change nothing; a lasting loss does.
      if (operation !== undefined) this.lossesWhileRefused += 1;
      if (this.lossesWhileRefused < LOSSES_WHILE_REFUSED) return;
    }
    this.trip('down', reason);
  }

  private refuse(refusal: RedisRefusalError): void {
    this.refused = refusal;
    this.lossesWhileRefused = 0;
    if (refusal.command === 'UNLINK') this.refusesInvalidations = true;
    this.trip('degraded', refusal.message);
  }

  private trip(state: 'down' | 'degraded', reason: string): void {
    if (this.stopped) return;
    const wasUp = this.current === 'up';
    const longestMs = state === 'degraded' ? MAX_REFUSED_PROBE_MS : MAX_PROBE_MS;
    this.reason = reason;
    if (this.current !== state) {
      this.current = state;
      this.options.observer.redisState(state);
    }
    if (wasUp) {
      const wasStable = performance.now() - this.closedAt > STABLE_AFTER_MS;
      this.probePauseMs = wasStable ? FIRST_PROBE_MS : Math.min(this.probePauseMs * 2, longestMs);
      this.probeSoon(this.probePauseMs);
    }
    if (this.announced === state) return;
    // At the start, the reason of a failure may follow a little after the failure.
    if (
      this.closedAt === 0 &&
      SAYS_NO_REASON.test(reason) &&
      performance.now() - this.madeAt < MAX_SILENCE_MS
    )
      return;
    this.announced = state;
    if (state === 'down') this.options.log.warn({ reason }, 'Redis unavailable: answering from PostgreSQL');
    else
      this.options.log.warn(
        { command: this.refused?.command, key: this.refused?.keyPattern, reason },
        'Redis refuses what the cache needs: answering from PostgreSQL',
      );
  }

  private probeSoon(pauseMs: number): void {
    if (this.stopped || this.available) return;
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

  /** Tries once to close the circuit. */
  private async probe(): Promise<void> {
    // Includes a connection on which the server has not answered the client's greeting: it may be dead, too.
    const isConnected = this.client.status === 'ready' || this.client.status === 'connect';
    // The client gives up for good if a Sentinel reports a failover while the client connects.
    if (this.client.status === 'end') this.client.connect().catch(() => undefined);
    try {
      await this.attempt('probe', async (client) => await proveUsable(client, this.options.examples));
      for (const work of this.recoveries) await work();
    } catch {
      // The failed attempt was counted, and the outage was logged when the circuit opened.
      const longestMs = this.current === 'degraded' ? MAX_REFUSED_PROBE_MS : MAX_PROBE_MS;
      this.probePauseMs = Math.min(this.probePauseMs * 2, longestMs);
      // The connection works if Redis refuses a command. But a master that became a replica may have a successor.
      const mayBeElsewhere = this.current !== 'degraded' || this.reason.startsWith('READONLY');
      this.probesUnanswered = isConnected && mayBeElsewhere ? this.probesUnanswered + 1 : 0;
      if (this.probesUnanswered >= PROBES_BEFORE_RECONNECT) {
        this.probesUnanswered = 0;
        this.client.disconnect(true);
      }
      return;
    }
    this.current = 'up';
    this.closedAt = performance.now();
    this.probesUnanswered = 0;
    this.lossesWhileRefused = 0;
    this.refusesInvalidations = false;
    this.refused = undefined;
    this.nodeFailure = undefined;
    this.options.observer.redisState('up');
    if (this.announced) this.options.log.info('Redis available again');
    this.announced = undefined;
    this.waiters.forEach((finish) => finish());
  }
}
