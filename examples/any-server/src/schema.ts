import { clearLoaders, type Loaders, type ResponseDependencies } from 'flovo-bots/cache';
import { createGraphQLError, createSchema } from 'graphql-yoga';

import { bookTag, cache, shelfTag, sql, type Book, type resources, type Shelf } from './resources.js';

/** The context that the resolvers of one request share. */
export interface Context {
  readonly loaders: Loaders<typeof resources>;
  readonly dependencies: ResponseDependencies;
}

export const schema = createSchema<Context>({
  typeDefs: /* GraphQL */ `
    type Shelf {
      id: Int!
      name: String!
      books: [Book!]!
    }
    type Book {
      id: Int!
      title: String!
      loans: Int!
      shelf: Shelf
    }
    type Query {
      shelf(id: Int!): Shelf
      book(id: Int!): Book
    }
    type Mutation {
      lend(bookId: Int!): Book!
    }
  `,
  resolvers: {
    Shelf: {
      books: async ({ id }: Shelf, _: unknown, { loaders }: Context) =>
        await loaders.booksOfShelf.load(String(id)),
    },
    Book: {
      shelf: async ({ shelf_id }: Book, _: unknown, { loaders }: Context) =>
        await loaders.shelf.load(String(shelf_id)),
    },
    Query: {
      shelf: async (_: unknown, { id }: { id: number }, { loaders }) => await loaders.shelf.load(String(id)),
      book: async (_: unknown, { id }: { id: number }, { loaders }) => await loaders.book.load(String(id)),
    },
    Mutation: {
      lend: async (_: unknown, { bookId }: { bookId: number }, { loaders, dependencies }) => {
        dependencies.markUncacheable();
        const [lent] = await sql<Pick<Book, 'shelf_id'>[]>`
          update books set loans = loans + 1 where id = ${bookId} returning shelf_id`;
        if (!lent) throw createGraphQLError('There is no such book');
        // The change is committed, and the client has not got an answer yet.
        await cache.invalidate([bookTag.of(String(bookId)), shelfTag.of(String(lent.shelf_id))]);
        clearLoaders(loaders);
        return await loaders.book.load(String(bookId));
      },
    },
  },
});
