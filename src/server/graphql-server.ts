import type {
  GatewayExecutionResult,
  GatewayExecutor,
  GatewayInterface,
} from '@apollo/server-gateway-interface';
import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import { maxAliasesRule } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthRule } from '@escape.tech/graphql-armor-max-depth';
import type { GraphQLError, GraphQLSchema, ValidationContext, ValidationRule } from 'graphql';

import type { RequestContext } from '../context.js';
import { executionOf, type Execute } from '../graphql/execution.js';
import { costLimitRule } from '../graphql/cost-limit.rule.js';
import type { Logger } from '../logger.js';
import { errorMasking, formatError } from './error-masking.js';
import { KnownOperations } from './known-operations.js';

/** Bounds of a document; each is far above what a page of a front end asks for. */
const LIMITS = { depth: 12, aliases: 60, cost: 20_000, tokens: 10_000 } as const;

/** Apollo's way to be given another executor than graphql-js: the schema is local all the same. */
const executor = (schema: GraphQLSchema, execute: Execute): GatewayInterface => {
  const run: GatewayExecutor = async ({ document, request, context }) =>
    ((context as RequestContext).outcome ??
      (await execute({
        document,
        contextValue: context,
        variableValues: request.variables,
        operationName: request.operationName,
      }))) as GatewayExecutionResult;
  return {
    onSchemaLoadOrUpdate(callback) {
      callback({ apiSchema: schema, coreSupergraphSdl: '' });
      return () => {};
    },
    load: async () => await Promise.resolve({ executor: run }),
    stop: async () => await Promise.resolve(),
  };
};

/** Tells the trace when an answer is that of a query without errors. */
const repeatableAnswers: ApolloServerPlugin<RequestContext> = {
  async requestDidStart() {
    return {
      async willSendResponse({ operation, response: { body }, contextValue }) {
        const hasErrors = body.kind !== 'single' || body.singleResult.errors !== undefined;
        if (operation?.operation === 'query' && !hasErrors) contextValue.trace?.conclude();
      },
    };
  },
};

export interface GraphQLServer {
  readonly apollo: ApolloServer<RequestContext>;
  readonly knownOperations: KnownOperations;
}

/** Apollo Server without the parts that cost time on every field and are not used here. */
export function createGraphQLServer(options: {
  schema: GraphQLSchema;
  introspection: boolean;
  log: Logger;
}): GraphQLServer {
  const execute = executionOf(options.schema);
  const knownOperations = new KnownOperations(execute);
  // What they throw would be taken for a failure of ours; what they report is a mistake of the client's.
  const reported = {
    propagateOnRejection: false,
    onReject: [(context: ValidationContext | null, error: GraphQLError) => context?.reportError(error)],
  };
  const limits: unknown[] = [
    maxDepthRule({ n: LIMITS.depth, ignoreIntrospection: true, ...reported }),
    maxAliasesRule({ n: LIMITS.aliases, ...reported }),
    costLimitRule(LIMITS.cost),
  ];
  const apollo = new ApolloServer<RequestContext>({
    gateway: executor(options.schema, execute),
    introspection: options.introspection,
    validationRules: limits as ValidationRule[],
    parseOptions: { maxTokens: LIMITS.tokens },
    allowBatchedHttpRequests: false,
    // There are no cookies to forge requests with: the caller is known by the Authorization header alone, and GET
    // runs queries only.
    csrfPrevention: false,
    includeStacktraceInErrorResponses: false,
    stopOnTerminationSignals: false,
    logger: options.log,
    formatError,
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      errorMasking(options.log),
      repeatableAnswers,
      knownOperations.plugin,
    ],
  });
  return { apollo, knownOperations };
}
