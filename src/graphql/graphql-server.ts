import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import type { GraphQLSchema } from 'graphql';

import type { OperationContext } from './operation-context.js';
import { DocumentCache } from './document-cache.js';
import { DOCUMENT_LIMITS } from './document-limits.js';
import { MAX_ERRORS } from './error-limits.js';
import { EXECUTION_OPTIONS, type Plans } from './execution.js';
import type { Logger } from '../logger.js';
import { refuseUnacceptable } from './content-negotiation.js';
import { errorReporting, formatError } from './error-masking.js';

/** Tells the context of a request its operation, and the dependencies of a response when a query has been executed. */
const executedQueries: ApolloServerPlugin<OperationContext> = {
  async requestDidStart() {
    return {
      async didResolveOperation({ operation, contextValue }) {
        contextValue.found.operation = operation;
      },
      async willSendResponse({ operation, response: { body }, contextValue }) {
        const hasErrors = body.kind !== 'single' || body.singleResult.errors !== undefined;
        if (operation?.operation === 'query') contextValue.dependencies.complete({ hasErrors });
      },
    };
  },
};

export interface GraphQLServer {
  readonly schema: GraphQLSchema;
  readonly apollo: ApolloServer<OperationContext>;
  /** The documents that need not go through Apollo Server again. */
  readonly documents: DocumentCache;
  readonly plans: Plans;
  /** Whether clients may read the schema, and errors may suggest similar names of it. */
  readonly introspection: boolean;
}

/** Makes an Apollo Server without its unused parts that cost time on every field. */
export function createGraphQLServer(options: {
  schema: GraphQLSchema;
  introspection: boolean;
  log: Logger;
  plans: Plans;
}): GraphQLServer {
  const { schema, introspection, log, plans } = options;
  const documents = new DocumentCache();
  const apollo = new ApolloServer<OperationContext>({
    schema,
    introspection,
    hideSchemaDetailsFromClientErrors: !introspection,
    documentStore: documents.documentStore,
    persistedQueries: documents.persistedQueries,
    parseOptions: { maxTokens: DOCUMENT_LIMITS.tokens },
    // graphql-js adds one error that says that there are too many.
    validationOptions: { maxErrors: MAX_ERRORS - 1 },
    executionOptions: EXECUTION_OPTIONS,
    allowBatchedHttpRequests: false,
    // Requests cannot be forged with cookies, because there are none: only the Authorization header identifies the
    // caller, and GET runs only queries.
    csrfPrevention: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    logger: log,
    formatError,
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      errorReporting(log, { suggestions: introspection }),
      executedQueries,
      documents.plugin,
      refuseUnacceptable,
    ],
  });
  return { schema, apollo, documents, plans, introspection };
}
