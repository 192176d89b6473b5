import { CacheUnavailableError } from '../core/errors.js';

/** How long a reply is waited for, where no request waits for it (ms). */
const TIMEOUT_MS = 1_000;

/**
 * Limits the wait for replies to commands that are sent past the circuit breaker: the client itself waits for ever.
 * @throws CacheUnavailableError if there is no reply in time; otherwise what the command throws
 */
export async function inTime<Result>(reply: Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new CacheUnavailableError('no answer in time')), TIMEOUT_MS);
  });
  try {
    return await Promise.race([reply, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
