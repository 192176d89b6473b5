import { sql, type AnyColumn, type SQL } from 'drizzle-orm';

/**
 * A column to return from a statement that writes: it adds the mutation to the audit log, in the transaction of the
 * write. The placeholders are the fields of a `Writer` and of a `WriteMark`.
 * @param entities an array of ids
 */
export const auditWrite = (orgId: AnyColumn | SQL, entities: SQL): SQL<boolean> =>
  sql<boolean>`public.audit_mutation(${sql.placeholder('userId')}::uuid, ${sql.placeholder('mutation')}::text,
    ${orgId}, ${entities}, ${sql.placeholder('requestId')}::text, ${sql.placeholder('key')}::text)`;
