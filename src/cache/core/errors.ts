/** Redis cannot be used now; the caller continues without it. Clients of the API never see this error. */
export class CacheUnavailableError extends Error {
  override readonly name = 'CacheUnavailableError';
}

/** Ignores an unavailable cache. Rethrows any other error, because it is a bug. */
export function rethrowUnlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
