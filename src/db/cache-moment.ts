import { sql, type Placeholder } from 'drizzle-orm';

import type { MomentText } from '../cache/core/moment.js';
import type { SnapshotText } from '../cache/core/snapshot.js';

/** The moment of a statement as a Drizzle column, for loads: what the cache must know beside the rows. */
export const momentSince = (since: SnapshotText | Placeholder) =>
  sql<MomentText>`(select public.cache_moment(${since}))`;

/** The same in a prepared statement, whose parameter `since` it needs. */
export const moment = momentSince(sql.placeholder('since'));

/** The same in a prepared statement that writes: its moment is that of the rows that it returns. */
export const momentOfWrite = sql<MomentText>`public.cache_moment_of_write(${sql.placeholder('since')})`;
