import { randomUUID } from 'node:crypto';

import { createCache, type Cache } from '../../src/cache/create-cache.js';
import type { LogBatch, LogSource } from '../../src/cache/invalidation/invalidation-log.js';
import type { LogRetention } from '../../src/cache/invalidation/invalidation-log-maintenance.js';
import type {
  CacheObserver,
  InvalidationCause,
  MissReason,
  RedisFailure,
  RedisOperation,
  RedisState,
  RefreshOutcome,
  Replaced,
} from '../../src/cache/core/observer.js';
import type { RedisTarget } from '../../src/cache/redis/redis-client.js';
import type { CachedResource, Resource } from '../../src/cache/core/resource.js';
import type { Ttls } from '../../src/config.js';
import { MAX_TTL_SECONDS } from '../../src/settings.js';
import { connectDatabase } from '../../src/db/client.js';
import { invalidationLogSource } from '../../src/cache/postgres/invalidation-log-source.js';
import { cacheConnection } from '../../src/db/cache-connection.js';
import { InvalidationService } from '../../src/invalidation/invalidation.service.js';
import { createRepositories, createResources, type Resources } from '../../src/resources.js';
import type { BotStats } from '../../src/stats/bot-stats.type.js';
import { captureLogs } from './captured-logs.js';
import { eventually } from './eventually.js';

/** Counts the events of a cache's observer. */
export class Tally implements CacheObserver {
  hits = 0;
  misses = 0;
  readonly reasons: Record<MissReason, number> = { absent: 0, outdated: 0, distrusted: 0, unavailable: 0 };
  joins = 0;
  waits = 0;
  /** The number of statements that load values, and of the values they load. */
  loads = 0;
  values = 0;
  readonly fills = { stored: 0, outdated: 0 };
  readonly replacements: Replaced[] = [];
  readonly invalidatedTags: Record<InvalidationCause, number> = { mutation: 0, helped: 0, log: 0, sweep: 0 };
  readonly roundTrips: Partial<Record<RedisOperation, number>> = {};
  timeouts = 0;
  errors = 0;
  /** The states of the circuit, in order. */
  readonly states: RedisState[] = [];
  /** The number of values that were too large to store. */
  tooLargeValues = 0;
  refusals = 0;
  /** The number of values that were loaded again before they expired, or could not be. */
  readonly refreshes: Record<RefreshOutcome, number> = { refreshed: 0, failed: 0 };
  /** Checks whether a response is of one moment, and the queries executed again because it was not. */
  momentChecks = 0;
  executionsAgain = 0;

  hit(_: string, count = 1): void {
    this.hits += count;
  }
  miss(_: string, reason: MissReason, count = 1): void {
    this.misses += count;
    this.reasons[reason] += count;
  }
  refreshed(_: string, outcome: RefreshOutcome, count: number): void {
    this.refreshes[outcome] += count;
  }
  momentChecked(): void {
    this.momentChecks += 1;
  }
  executedAgain(): void {
    this.executionsAgain += 1;
  }
  joined(): void {
    this.joins += 1;
  }
  waited(): void {
    this.waits += 1;
  }
  loaded(_: string, count: number): void {
    this.loads += 1;
    this.values += count;
  }
  filled(_: string, stored: number, outdated: number): void {
    this.fills.stored += stored;
    this.fills.outdated += outdated;
  }
  replaced(_: string, outcome: Replaced): void {
    this.replacements.push(outcome);
  }
  invalidated(cause: InvalidationCause, tags: number): void {
    this.invalidatedTags[cause] += tags;
  }
  outdated(): void {}
  roundTripEnded(): void {}
  roundTrip(operation: RedisOperation): void {
    this.roundTrips[operation] = (this.roundTrips[operation] ?? 0) + 1;
  }
  redisFailure(_: RedisOperation, reason: RedisFailure): void {
    if (reason === 'timeout') this.timeouts += 1;
    else this.errors += 1;
    if (reason === 'refused') this.refusals += 1;
  }
  redisState(state: RedisState): void {
    this.states.push(state);
  }
  tooLarge(_: string, count: number): void {
    this.tooLargeValues += count;
  }
}

/** Holds up a load. */
export interface Gate {
  /** Resolves when a load has reached the gate. */
  readonly reached: Promise<void>;
  open(): void;
}

/** A cache, and the application's own resources by their names. */
export interface TestCache extends Resources {
  readonly cache: Cache;
  readonly tally: Tally;
  readonly logs: Record<string, unknown>[];
  /** The invalidations that services make after a transaction. */
  readonly invalidation: InvalidationService<BotStats>;
  /** The replacement of statistics that the service of messages makes after a transaction. */
  botStatsChanged(botId: string): Promise<void>;
  /** Holds up the next load of a resource, before or after its statement has run. */
  hold(resource: keyof Resources, when: 'before' | 'after'): Gate;
  /** Makes the next load of a resource fail. */
  fail(resource: keyof Resources, error: Error): void;
  /** The name that a read shows; null if the bot does not exist. */
  nameOf(botId: string): Promise<string | null>;
  isUp(): Promise<void>;
  close(): Promise<void>;
}

export interface TestCacheOptions {
  readonly databaseUrl: string;
  readonly redis: RedisTarget | undefined;
  readonly prefix?: string;
  /** Timeout of Redis; long by default, so that a slow machine causes no timeouts (ms). */
  readonly timeoutMs?: number;
  /** The URL for reads of the invalidation log, if it is not `databaseUrl`: a proxy. */
  readonly logUrl?: string;
  /** Whether it ignores the entries of the log, so that only generations keep its values right. */
  readonly deaf?: boolean;
  /** Whether it also maintains the log and sweeps. */
  readonly maintains?: boolean;
  /** The TTL of every value, in s; the application's maxima by default. */
  readonly ttlSeconds?: number;
  readonly refreshAhead?: boolean;
  /** Retention of the log. */
  readonly logRetention?: LogRetention;
}

/** Opens the cache of one server process over the application's tables, without the server. */
export async function openCache(options: TestCacheOptions): Promise<TestCache> {
  const { db, close } = connectDatabase({ url: options.databaseUrl, poolMax: 10 });
  const tally = new Tally();
  const { log, logs } = captureLogs();
  const source = invalidationLogSource(cacheConnection(options.logUrl ?? options.databaseUrl));
  const cache = createCache({
    redis: options.redis,
    redisTimeoutMs: options.timeoutMs ?? 3_000,
    prefix: options.prefix ?? '',
    responseCacheBytes: 0,
    refreshAhead: options.refreshAhead ?? true,
    postgres: options.deaf === true ? deafened(source) : source,
    observer: tally,
    log,
    logRetention: options.logRetention,
  });

  const gates: { resource: string; when: 'before' | 'after'; pass: () => Promise<void> }[] = [];
  const failures = new Map<string, Error>();
  const gated = <Id, Value>(resource: Resource<Id, Value>): CachedResource<Id, Value> =>
    cache.resource<Id, Value>({
      ...resource,
      load: async (ids, since) => {
        const found = gates.findIndex((gate) => gate.resource === resource.name);
        const [gate] = found < 0 ? [] : gates.splice(found, 1);
        const failure = failures.get(resource.name);
        failures.delete(resource.name);
        if (gate?.when === 'before') await gate.pass();
        const loaded = await resource.load(ids, options.deaf === true ? '' : since);
        const values =
          options.deaf === true
            ? loaded.map((each) => ({ ...each, snapshot: `${each.snapshot} []` }))
            : loaded;
        if (gate?.when === 'after') await gate.pass();
        if (failure) throw failure;
        return values;
      },
    });
  const repositories = createRepositories(db);
  const resources = createResources(gated, repositories, ttlsOf(options.ttlSeconds));

  const invalidation = new InvalidationService(cache.invalidator, resources.botStats, cache.helping);
  if (options.maintains === true) await cache.start(5_000);
  else await cache.invalidationLog.start();
  const isUp = async () => {
    await eventually(() => cache.state() === 'up');
  };
  return {
    ...resources,
    cache,
    tally,
    logs,
    invalidation,
    async botStatsChanged(botId) {
      const [bot] = await repositories.bots.findMany([botId]);
      const key = { id: botId, orgId: bot?.value?.orgId ?? randomUUID() };
      await invalidation.botStatsChanged(
        key,
        async (since) => await repositories.stats.findMany([botId], since),
      );
    },
    hold(resource, when) {
      let tellReached = () => {};
      let open = () => {};
      const reached = new Promise<void>((resolve) => {
        tellReached = resolve;
      });
      const opened = new Promise<void>((resolve) => {
        open = resolve;
      });
      const pass = async () => {
        tellReached();
        await opened;
      };
      gates.push({ resource, when, pass });
      return { reached, open };
    },
    fail: (resource, error) => {
      failures.set(resource, error);
    },
    nameOf: async (botId) => (await resources.bot.readMany([botId]))[0]?.name ?? null,
    isUp,
    close: async () => {
      await cache.close();
      await close();
    },
  };
}

const ttlsOf = (seconds: number | undefined): Ttls =>
  seconds === undefined
    ? MAX_TTL_SECONDS
    : (Object.fromEntries(Object.keys(MAX_TTL_SECONDS).map((name) => [name, seconds])) as unknown as Ttls);

/** Reads the real log, but drops its entries. */
function deafened(source: LogSource): LogSource {
  const silence = (batch: LogBatch): LogBatch => ({ ...batch, entries: [] });
  return {
    ...source,
    open: async () => silence(await source.open()),
    poll: async (since) => silence(await source.poll(since)),
  };
}
