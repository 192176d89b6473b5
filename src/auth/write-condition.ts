import { sql, type AnyColumn, type SQL } from 'drizzle-orm';

import { memberships } from '../db/tables.js';

/**
 * The decision of `Authorization`, once more in SQL: a statement that writes decides by the memberships of its own
 * moment. The placeholders are the fields of a `Writer`.
 */
export const isWritersMembership = sql`${memberships.userId} = ${sql.placeholder('userId')}
  and ${memberships.role} = any(${sql.placeholder('roles')}::text[]::role[])`;

/** Whether the writer's role in the organization of a column allows the change. */
export const writerMayChange = (orgId: AnyColumn): SQL =>
  sql`${orgId} in (select ${memberships.orgId} from ${memberships} where ${isWritersMembership})`;
