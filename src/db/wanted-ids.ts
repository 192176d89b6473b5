import { sql } from 'drizzle-orm';

/**
 * The parameter `ids` of a prepared statement as rows, for statements that read many ids at once. With
 * `.from(wantedIds)` and `.orderBy(wantedPosition)` the result is aligned with the ids, if at most one row is joined to
 * each.
 */
export const wantedIds = sql`unnest(${sql.placeholder('ids')}::uuid[]) with ordinality as wanted(id, position)`;
export const wantedId = sql`wanted.id`;
/** The first position is 1. */
export const wantedPosition = sql<number>`wanted.position::int`;
