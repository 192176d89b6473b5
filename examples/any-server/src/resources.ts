import { cached, createCache, tagFamily, type Snapshotted } from 'flovo-bots/cache';
import postgres from 'postgres';

export interface Shelf {
  readonly id: number;
  readonly name: string;
}

export interface Book {
  readonly id: number;
  readonly shelf_id: number;
  readonly title: string;
  readonly loans: number;
}

const { DATABASE_URL = '', REDIS_URL = '' } = process.env;

export const sql = postgres(DATABASE_URL, { onnotice: () => {} });
export const cache = createCache({ redis: REDIS_URL, postgres: DATABASE_URL, prefix: 'library:' });

export const shelfTag = tagFamily('shelf');
export const bookTag = tagFamily('book');

const BOOK_SHAPE = { id: 'number', shelf_id: 'number', title: 'string', loans: 'number' } as const;
/** What the cache must know beside the rows: what has been written lately. */
const moment = (since: string) => sql`(select cache_moment(${since}))`;
/** The requested ids as rows, in their order; the value of a missing row is null. */
const wanted = (ids: readonly string[]) =>
  sql`unnest(${[...ids]}::int[]) with ordinality as wanted (id, position)`;

export const resources = cache.bind({
  shelf: cached<Shelf>({
    key: 'shelf:{id}',
    tags: [shelfTag],
    shape: { id: 'number', name: 'string' },
    ttlSeconds: 300,
    load: (ids, since) => sql<Snapshotted<Shelf>[]>`
      select ${moment(since)} as snapshot, to_json(shelf) as value
      from ${wanted(ids)} left join shelves as shelf using (id) order by position`,
  }),
  book: cached<Book>({
    key: 'book:{id}',
    tags: [bookTag],
    shape: BOOK_SHAPE,
    ttlSeconds: 300,
    load: (ids, since) => sql<Snapshotted<Book>[]>`
      select ${moment(since)} as snapshot, to_json(book) as value
      from ${wanted(ids)} left join books as book using (id) order by position`,
  }),
  booksOfShelf: cached<readonly Book[]>({
    key: 'shelf:{id}:books',
    tags: [shelfTag],
    shape: [BOOK_SHAPE],
    ttlSeconds: 300,
    load: (ids, since) => sql<Snapshotted<readonly Book[]>[]>`
      select ${moment(since)} as snapshot, coalesce(json_agg(book order by title) filter (where book.id is not null), '[]') as value
      from ${wanted(ids)} left join books as book on shelf_id = wanted.id group by position order by position`,
  }),
});
