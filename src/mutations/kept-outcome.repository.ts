import { sql } from 'drizzle-orm';

import type { Database } from '../db/client.js';

/** How long a request may be repeated with its key: at least this long (hours). */
const KEEP_HOURS = 24;

/** The SQL of all kept outcomes together. Those of one kind are read by the repositories that wrote them. */
export class KeptOutcomeRepository {
  constructor(private readonly db: Database) {}

  /**
   * Removes outcomes that need not be kept any longer, at most `most` of them; returns how many. If another process is
   * removing some at the moment, this removes none.
   */
  async prune(most: number): Promise<number> {
    const [row] = await this.db.execute<{ removed: string }>(
      sql`select public.prune_idempotency_keys(make_interval(hours => ${KEEP_HOURS}::int), ${most}::int) as removed`,
    );
    return Number(row?.removed ?? 0);
  }
}
