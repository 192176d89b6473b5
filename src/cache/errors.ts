/** Redis cannot be used just now; the caller does without it. Never reaches a client of the API. */
export class CacheUnavailableError extends Error {
  override readonly name = 'CacheUnavailableError';
}
