import type { Cache } from '../cache/create-cache.js';
import type { Metrics } from './metrics.js';

/** Adds gauges of a cache, which are read when the metrics are read. */
export function watchCache({ gauge }: Pick<Metrics, 'gauge'>, cache: Cache): void {
  const { invalidationLog, responseCache } = cache;
  gauge('flovo_invalidation_log_age_seconds', 'Age of what is known of the invalidation log', () =>
    Math.min(invalidationLog.ageMs / 1_000, 1e9),
  );
  gauge(
    'flovo_invalidation_log_tags',
    'Tags whose last write is remembered',
    () => invalidationLog.rememberedTags,
  );
  if (!responseCache) return;
  gauge(
    'flovo_response_cache_entries',
    'Cached responses in the memory of this process',
    () => responseCache.size,
  );
  gauge('flovo_response_cache_bytes', 'Estimated memory of the cached responses', () => responseCache.bytes);
}
