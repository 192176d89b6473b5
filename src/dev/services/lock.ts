import { lock } from 'proper-lockfile';

/** A holder that has died is found out after this long (ms). */
const STALE_MS = 5_000;
/** How often, and for how long at most, a lock that is held is tried again: its holder may be downloading. */
const RETRY_MS = 50;
const MAX_WAIT_MS = 5 * 60_000;

/**
 * Runs `action` while holding the lock beside a path, so that of several processes, or callers in one, only one is inside.
 * @throws what `action` throws; an error if the lock is held for longer than five minutes
 */
export async function withLock<T>(path: string, action: () => Promise<T>): Promise<T> {
  const release = await lock(path, {
    realpath: false,
    stale: STALE_MS,
    retries: { retries: MAX_WAIT_MS / RETRY_MS, factor: 1, minTimeout: RETRY_MS, maxTimeout: RETRY_MS },
  });
  try {
    return await action();
  } finally {
    await release();
  }
}
