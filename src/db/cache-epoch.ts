import { sql as drizzleSql } from 'drizzle-orm';

import type { SnapshotText } from '../cache/core/snapshot.js';
import { SNAPSHOT_SQL } from '../cache/postgres/snapshot-column.js';

/** {@link SNAPSHOT_SQL} as a Drizzle column. */
export const currentSnapshot = drizzleSql<SnapshotText>`${drizzleSql.raw(SNAPSHOT_SQL)}`;
