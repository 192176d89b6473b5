import { installCache } from 'flovo-bots/cache';
import type { Sql } from 'postgres';

const TABLES = `
  -- Processes that start together take turns.
  select pg_advisory_xact_lock(1);

  create table if not exists shelves (id int primary key, name text not null);
  create table if not exists books (
    id int primary key,
    shelf_id int not null references shelves,
    title text not null,
    loans int not null default 0
  );
  insert into shelves values (1, 'Poetry'), (2, 'Travel') on conflict do nothing;
  insert into books values (1, 1, 'Sonnets', 0), (2, 1, 'Odes', 0), (3, 2, 'Sea and Sardinia', 0) on conflict do nothing;

  select cache_watch('shelves', $$ARRAY['shelf:' || id]$$);
  select cache_watch('books', $$ARRAY['book:' || id, 'shelf:' || shelf_id]$$);`;

/** Creates the tables and lets the cache watch them. It may be repeated at each start. */
export async function prepareDatabase(sql: Sql): Promise<void> {
  await installCache(sql);
  await sql.begin(async (transaction) => await transaction.unsafe(TABLES));
}
