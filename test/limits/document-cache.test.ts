import { createHash } from 'node:crypto';
import { ApolloServer } from '@apollo/server';
import { expect, test } from '@jest/globals';
import { buildSchema } from 'graphql';

import type { RequestContext } from '../../src/context.js';
import { DocumentCache } from '../../src/graphql/document-cache.js';

const QUERY = '{ __typename }';

const serverWith = (documents: DocumentCache) =>
  new ApolloServer<RequestContext>({
    schema: buildSchema('type Query { n: Int }'),
    documentStore: documents.documentStore,
    persistedQueries: documents.persistedQueries,
    plugins: [documents.plugin],
  });
const callerWith = (isAuthenticated: boolean) =>
  ({ contextValue: { authorization: { isAuthenticated } } as unknown as RequestContext }) as const;

test.each([
  [true, 'is remembered'],
  [false, 'is not remembered'],
])('with a valid token: %s, a document %s', async (isAuthenticated) => {
  const documents = new DocumentCache();
  await serverWith(documents).executeOperation({ query: QUERY }, callerWith(isAuthenticated));
  expect(documents.get(QUERY) !== undefined).toBe(isAuthenticated);
});

test.each([
  [true, 'is remembered'],
  [false, 'is not remembered'],
])('with a valid token: %s, a persisted query %s', async (isAuthenticated) => {
  const server = serverWith(new DocumentCache());
  const sha256Hash = createHash('sha256').update(QUERY).digest('hex');
  const extensions = { persistedQuery: { version: 1, sha256Hash } };
  await server.executeOperation({ query: QUERY, extensions }, callerWith(isAuthenticated));
  const { body } = await server.executeOperation({ extensions }, callerWith(true));
  const errors = body.kind === 'single' ? body.singleResult.errors : undefined;
  expect(errors?.[0]?.extensions?.code).toBe(isAuthenticated ? undefined : 'PERSISTED_QUERY_NOT_FOUND');
});
