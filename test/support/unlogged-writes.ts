import type postgres from 'postgres';

/**
 * Writes a table whose triggers are disabled, so that the invalidation log does not know: only values that are invalidated by
 * hand then show the write.
 */
export async function writeUnlogged(
  sql: postgres.Sql,
  table: string,
  write: (sql: postgres.TransactionSql) => Promise<unknown>,
): Promise<void> {
  await sql.begin(async (transaction) => {
    await transaction.unsafe(`alter table ${table} disable trigger user`);
    await write(transaction);
    await transaction.unsafe(`alter table ${table} enable trigger user`);
  });
}
