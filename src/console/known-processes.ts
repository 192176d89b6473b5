import { withTimeLimit } from '../time-limit.js';
import type { ServerProcess } from './server-process.repository.js';

/** How long a list is shown before it is read again (ms). */
const MAX_AGE_MS = 10_000;
/** The console does not wait longer for PostgreSQL (ms). */
const TIMEOUT_MS = 1_000;

/** The list of server processes. However many consoles are open, PostgreSQL is asked once in 10 s. */
export class KnownProcesses {
  private askedAt = -Infinity;
  private listing: Promise<readonly ServerProcess[] | null> = Promise.resolve(null);

  constructor(private readonly find: () => Promise<readonly ServerProcess[]>) {}

  /** The processes; null if PostgreSQL cannot be asked. */
  async list(): Promise<readonly ServerProcess[] | null> {
    const now = performance.now();
    if (now - this.askedAt >= MAX_AGE_MS) {
      this.askedAt = now;
      this.listing = withTimeLimit(this.find(), TIMEOUT_MS).catch(() => null);
    }
    return await this.listing;
  }
}
