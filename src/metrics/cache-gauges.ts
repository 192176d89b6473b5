import type { Cache } from '../cache/create-cache.js';
import type { Metrics } from './metrics.js';

/** Adds gauges of a cache, which are read when the metrics are read. */
export function watchCache({ gauge, gauges }: Pick<Metrics, 'gauge' | 'gauges'>, cache: Cache): void {
  const { invalidationLog, responseCache, policies } = cache;
  gauge('flovo_invalidation_log_age_seconds', 'Age of what is known of the invalidation log', () =>
    Math.min(invalidationLog.ageMs / 1_000, 1e9),
  );
  gauge(
    'flovo_invalidation_log_tags',
    'Tags whose last write is remembered',
    () => invalidationLog.rememberedTags,
  );
  gauges(
    'flovo_cache_policy',
    'Whether this process stores the values of a resource, and loads them again before they expire (1: it does)',
    ['resource', 'decision'],
    function* () {
      for (const [resource, { stores, refreshes }] of policies) {
        yield [{ resource, decision: 'store' }, Number(stores)];
        yield [{ resource, decision: 'refresh' }, Number(refreshes)];
      }
    },
  );
  if (!responseCache) return;
  gauge(
    'flovo_response_cache_entries',
    'Cached responses in the memory of this process',
    () => responseCache.size,
  );
  gauge('flovo_response_cache_bytes', 'Estimated memory of the cached responses', () => responseCache.bytes);
}
