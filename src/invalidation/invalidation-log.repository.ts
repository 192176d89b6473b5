import { sql } from 'drizzle-orm';

import { EVERYTHING, type Tag } from '../cache/core/tags.js';
import type { Database } from '../db/client.js';

/** PostgreSQL logs a longer entry as a change of everything. */
const MAX_TAGS_AN_ENTRY = 1_000;

/** Writes the invalidation log, as the triggers of watched tables do. */
export class InvalidationLogRepository {
  constructor(private readonly db: Database) {}

  /** Logs tags: from the commit on, every process that reads the log refuses older values of them. */
  async add(tags: readonly Tag[]): Promise<void> {
    const entries = tags.includes(EVERYTHING) ? [[EVERYTHING]] : pieces(tags);
    for (const entry of entries)
      await this.db.execute(sql`select public.log_cache_invalidation(${sql.param(entry)}::text[])`);
  }
}

const pieces = (tags: readonly Tag[]): Tag[][] =>
  Array.from({ length: Math.ceil(tags.length / MAX_TAGS_AN_ENTRY) }, (_, i) =>
    tags.slice(i * MAX_TAGS_AN_ENTRY, (i + 1) * MAX_TAGS_AN_ENTRY),
  );
