import type { CacheObserver } from '../cache/core/observer.js';
import type { ShadowResult } from '../cache/inspection/shadow.js';
import { remembered, type Families } from './families.js';

/** Counts the events of the cache. The label `resource` is `response` for the response cache of this process. */
export function cacheMetrics(families: Families): CacheObserver {
  return { ...readMetrics(families), ...writeMetrics(families), ...redisMetrics(families) };
}

/** Counts what the comparison of hits with PostgreSQL found, see `Shadow`. */
export const shadowMetrics = (families: Families) =>
  families.counterOf(
    'flovo_cache_shadow_values_total',
    'Served values that were compared with PostgreSQL, and those of them that were wrong',
    'result',
    ['compared', 'stale', 'corrupt', 'orphaned'] satisfies ShadowResult[],
  );

function readMetrics(families: Families) {
  const hits = families.counter('flovo_cache_hits_total', 'Reads answered from Redis', ['resource']);
  const misses = families.counter('flovo_cache_misses_total', 'Reads not answered from Redis, and why', [
    'resource',
    'reason',
  ]);
  const joins = families.counter(
    'flovo_cache_joined_loads_total',
    'Reads that shared a load of this process',
    ['resource'],
  );
  const waits = families.counter(
    'flovo_cache_waited_loads_total',
    'Reads that got the value another process loaded',
    ['resource'],
  );
  const refreshes = families.counter(
    'flovo_cache_refreshed_total',
    'Values that are read often, loaded again before they expired (outcome refreshed or failed)',
    ['resource', 'outcome'],
  );
  const loads = families.counter('flovo_cache_loads_total', 'Database reads made for the cache', [
    'resource',
  ]);
  const loadedValues = families.counter('flovo_cache_loaded_values_total', 'Values asked of the database', [
    'resource',
  ]);
  const momentChecked = families.counterOf(
    'flovo_cache_moment_checks_total',
    'Responses that were checked for being of one moment, after a write of the last moments',
    'result',
    ['one moment', 'several moments'],
  );
  const executedAgain = families.counterOf(
    'flovo_cache_executed_again_total',
    'Queries executed again, because their values were of several moments',
    'how',
    ['once more', 'in one transaction'],
  );
  const hitOf = remembered((resource) => hits.labels({ resource }));
  const missOf = remembered((resource, reason) => misses.labels({ resource, reason }));
  return {
    hit: (resource, count = 1) => hitOf(resource).inc(count),
    miss: (resource, reason, count = 1) => missOf(resource, reason).inc(count),
    refreshed: (resource, outcome, count) => refreshes.inc({ resource, outcome }, count),
    joined: (resource) => joins.inc({ resource }),
    waited: (resource) => waits.inc({ resource }),
    loaded: (resource, count) => {
      loads.inc({ resource });
      loadedValues.inc({ resource }, count);
    },
    momentChecked: (isOne) => momentChecked(isOne ? 'one moment' : 'several moments'),
    executedAgain: (how) => executedAgain(how),
  } satisfies Partial<CacheObserver>;
}

function writeMetrics(families: Families) {
  const fills = families.counter(
    'flovo_cache_fills_total',
    'Loaded values sent to Redis: stored, or refused there as outdated',
    ['resource', 'result'],
  );
  const replacements = families.counter(
    'flovo_cache_replacements_total',
    'Newer values sent to Redis after a write: replaced the stored one, kept the stored one, or removed it',
    ['resource', 'result'],
  );
  const tooLarge = families.counter(
    'flovo_cache_too_large_total',
    'Values answered but too large to be stored',
    ['resource'],
  );
  const invalidated = families.counterOf(
    'flovo_cache_invalidated_tags_total',
    'Tags invalidated in Redis: for a mutation of this process, for a write that a load showed (helped) or ' +
      'the invalidation log listed (log), or again after a lost invalidation (sweep)',
    'cause',
    ['mutation', 'helped', 'log', 'sweep'],
  );
  const invalidations = families.counter(
    'flovo_cache_invalidations_total',
    'Invalidated tags that values of the resource depend on',
    ['resource', 'cause'],
  );
  const invalidationOf = remembered((resource, cause) => invalidations.labels({ resource, cause }));
  return {
    filled: (resource, stored, outdated) => {
      fills.inc({ resource, result: 'stored' }, stored);
      fills.inc({ resource, result: 'outdated' }, outdated);
    },
    replaced: (resource, result) => replacements.inc({ resource, result }),
    tooLarge: (resource, count) => tooLarge.inc({ resource }, count),
    invalidated: (cause, tags) => invalidated(cause, tags),
    outdated: (resource, cause, tags) => invalidationOf(resource, cause).inc(tags),
  } satisfies Partial<CacheObserver>;
}

function redisMetrics(families: Families) {
  const roundTrips = families.counter('flovo_redis_round_trips_total', 'Round trips to Redis', ['operation']);
  const durations = families.latency(
    'flovo_redis_round_trip_duration_seconds',
    'Time of a round trip to Redis, failed ones included',
    ['operation'],
  );
  const failures = families.counter('flovo_redis_failures_total', 'Round trips to Redis that failed', [
    'operation',
    'reason',
  ]);
  const up = families.gauge('flovo_redis_up', '1 while Redis is used, 0 while it is avoided');
  const changed = families.counterOf(
    'flovo_redis_state_changes_total',
    'How often Redis was lost (down), refused what is needed (degraded) or was found again',
    'to',
    ['up', 'down', 'degraded'],
  );
  const roundTripOf = remembered((operation) => roundTrips.labels({ operation }));
  const durationOf = remembered((operation) => durations.labels({ operation }));
  return {
    roundTrip: (operation) => roundTripOf(operation).inc(),
    roundTripEnded: (operation, seconds) => durationOf(operation).observe(seconds),
    redisFailure: (operation, reason) => failures.inc({ operation, reason }),
    redisState: (state) => {
      up.set(state === 'up' ? 1 : 0);
      changed(state);
    },
  } satisfies Partial<CacheObserver>;
}
