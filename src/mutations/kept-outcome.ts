import {
  and,
  eq,
  getTableName,
  ne,
  or,
  sql,
  type AnyColumn,
  type GetColumnData,
  type SQL,
} from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';

import { idempotencyKeys } from '../db/tables.js';

/** What an earlier request with the same key has written. */
export interface KeptOutcome<Result> {
  /** The digest of that request. If it is another one, `result` is not of this mutation. */
  readonly fingerprint: string;
  readonly orgId: string;
  readonly result: Result;
}

/**
 * A column to return from a statement that writes: it keeps the outcome under the key, in the transaction of the write.
 * Without a key it does nothing. The placeholders are the fields of a `Writer` and of a `WriteMark`.
 * @throws SQLSTATE 23505 if the key was used before. A statement that uses the key at the same time is waited for.
 */
export const keepOutcome = (orgId: AnyColumn | SQL, outcome: SQL): SQL<null> =>
  sql`case when ${sql.placeholder('key')}::text is not null then public.keep_mutation_outcome(
    ${sql.placeholder('userId')}::uuid, ${sql.placeholder('key')}::text, ${sql.placeholder('ordinal')}::smallint,
    ${sql.placeholder('fingerprint')}::text, ${orgId}, ${outcome}) end`;

/** The whole row that a statement has written, as an outcome. */
export const writtenRow = (table: PgTable): SQL => sql`to_jsonb(${table})`;

/** A row of a table as it was written, from its kept outcome. A column that the table did not have then is null. */
export const keptRow = (table: PgTable): SQL =>
  sql`jsonb_populate_record(null::${table}, ${idempotencyKeys.outcome}) as ${sql.identifier(getTableName(table))}`;

/** The columns of a {@link keptRow}. Drizzle refuses the columns of a table that it does not know to be in the query. */
export const columnsOfKept = <Columns extends Readonly<Record<string, AnyColumn>>>(columns: Columns) =>
  Object.fromEntries(
    Object.entries(columns).map(([name, column]) => [name, sql`${column}`.mapWith(column)]),
  ) as { [Name in keyof Columns]: SQL<GetColumnData<Columns[Name]>> };

export const keptColumns = { fingerprint: idempotencyKeys.fingerprint, orgId: idempotencyKeys.orgId };

const isOfThisRequest = eq(idempotencyKeys.fingerprint, sql.placeholder('fingerprint'));

/** Selects the outcome of this mutation, or that of any other request with the key. */
export const isKept = and(
  eq(idempotencyKeys.userId, sql.placeholder('userId')),
  eq(idempotencyKeys.key, sql.placeholder('key')),
  or(
    eq(idempotencyKeys.ordinal, sql.placeholder('ordinal')),
    ne(idempotencyKeys.fingerprint, sql.placeholder('fingerprint')),
  ),
);

/** The other request first. */
export const otherRequestFirst = sql`${isOfThisRequest}`;
