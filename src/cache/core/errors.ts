/** Redis cannot be used just now; the caller does without it. Never reaches a client of the API. */
export class CacheUnavailableError extends Error {
  override readonly name = 'CacheUnavailableError';
}

/** For what follows only where Redis cannot be used: any other error is a mistake of the program, and is thrown on. */
export function rethrowUnlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
