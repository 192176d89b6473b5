import { sql } from 'drizzle-orm';

import { EVERYTHING, type Tag } from '../cache/core/tags.js';
import type { Database } from '../db/client.js';

/** PostgreSQL logs a longer entry as a change of everything. */
const MAX_TAGS_AN_ENTRY = 1_000;

/** An entry of the invalidation log. */
export interface LoggedInvalidation extends Record<string, unknown> {
  readonly at: string;
  /** The id of the transaction that changed the tags. */
  readonly xid: string;
  readonly tags: readonly Tag[];
}

/** Writes the invalidation log, as the triggers of watched tables do. */
export class InvalidationLogRepository {
  constructor(private readonly db: Database) {}

  /** The entries of the log that name one of these tags, or everything; the newest first, at most `limit`. */
  async findLatest(tags: readonly Tag[], limit: number): Promise<LoggedInvalidation[]> {
    const wanted = sql.param([...tags, EVERYTHING]);
    return await this.db.execute<LoggedInvalidation>(
      sql`select to_char(logged_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, xid::text as xid, to_json(tags) as tags
        from public.cache_invalidations where tags && ${wanted}::text[] order by cache_invalidations.xid desc limit ${limit}`,
    );
  }

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
