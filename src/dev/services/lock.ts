import { lock } from 'proper-lockfile';

/** After this long, the lock of a dead holder is taken over (ms). */
const STALE_MS = 5_000;
/** The pause between attempts and the total wait for a lock (ms): its holder may be downloading. */
const RETRY_MS = 50;
const MAX_WAIT_MS = 5 * 60_000;

/**
 * Runs `action` while holding the lock beside a path: one process, and one caller in a process, at a time.
 * @throws any error of `action`; an error if the lock is held for longer than five minutes
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
