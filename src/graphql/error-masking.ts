import type { ApolloServerPlugin } from '@apollo/server';
import { unwrapResolverError } from '@apollo/server/errors';
import { GraphQLError, type DocumentNode, type GraphQLFormattedError, type GraphQLSchema } from 'graphql';

import type { OperationContext } from './operation-context.js';
import { ApiError, ErrorCode } from '../errors.js';
import { shorten } from './error-limits.js';
import type { Logger } from '../logger.js';
import { InvalidValuePaths } from './invalid-value-path.js';

const MASKED_MESSAGE = 'Internal server error';

/** The details of a request that are needed to report its errors. */
export interface FailedRequest {
  readonly requestId: string;
  readonly operationName: string | null | undefined;
  readonly schema: GraphQLSchema;
  /** Undefined if the document could not be parsed. */
  readonly document: DocumentNode | undefined;
  readonly variables: Readonly<Record<string, unknown>> | undefined;
  /** Whether errors may suggest similar names of the schema. */
  readonly suggestions: boolean;
}

/**
 * Reports the errors of one request. It logs every unexpected error that is masked, under the request id that the
 * client gets as well, and gives values that GraphQL itself refused the code BAD_USER_INPUT and the field.
 */
export function reportErrors(log: Logger, errors: readonly GraphQLError[], request: FailedRequest): void {
  let paths: InvalidValuePaths | undefined;
  for (const error of errors) {
    if (isUnexpected(error)) {
      error.extensions.requestId = request.requestId;
      log.error(
        {
          err: unwrapResolverError(error),
          requestId: request.requestId,
          path: error.path,
          operation: request.operationName,
        },
        'Unexpected error, masked to the client',
      );
      continue;
    }
    const { document } = request;
    if (!request.suggestions) error.message = withoutSuggestions(error.message);
    if (error.extensions.code === undefined && hasNoCode(error)) {
      error.extensions.code = isRefusedRequest(error) ? 'BAD_REQUEST' : ErrorCode.BAD_USER_INPUT;
    }
    if (document && error.extensions.field === undefined && isInvalidValue(error)) {
      paths ??= new InvalidValuePaths({ ...request, document });
      const field = paths.next(error);
      if (field !== undefined)
        Object.assign(error.extensions, { code: ErrorCode.BAD_USER_INPUT, field: shorten(field) });
    }
  }
}

/** Reports the errors that Apollo Server encounters. */
export const errorReporting = (
  log: Logger,
  { suggestions }: Pick<FailedRequest, 'suggestions'>,
): ApolloServerPlugin<OperationContext> => ({
  async requestDidStart() {
    return {
      async didEncounterErrors({ errors, contextValue, document, schema, request, operationName }) {
        reportErrors(log, errors, {
          requestId: contextValue.requestId,
          operationName,
          schema,
          document,
          variables: request.variables,
          suggestions,
        });
      },
    };
  },
});

/** The form of an error that the client gets: Apollo Server's `formatError`. */
export function formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  if (isUnexpected(error)) {
    const { requestId } = formatted.extensions ?? {};
    return {
      ...formatted,
      message: MASKED_MESSAGE,
      extensions: {
        code: ErrorCode.INTERNAL_SERVER_ERROR,
        ...(requestId === undefined ? {} : { requestId }),
      },
    };
  }
  const message = shorten(formatted.message);
  return message === formatted.message ? formatted : { ...formatted, message };
}

/** Formats the errors of an executed operation as Apollo Server does. Report them first. */
export const formatErrors = (errors: readonly GraphQLError[]): GraphQLFormattedError[] =>
  errors.map((error) => {
    const code = error.extensions.code ?? ErrorCode.INTERNAL_SERVER_ERROR;
    return formatError({ ...error.toJSON(), extensions: { ...error.extensions, code } }, error);
  });

/**
 * Whether an error is not meant for the client: it is neither an ApiError nor an error of GraphQL about the request.
 * An error of graphql-js without a code is about the request if it was raised before any resolver ran, or if it names
 * the wrong part of the document. Otherwise it is about a value that a resolver returned.
 */
function isUnexpected(error: unknown): boolean {
  const cause = unwrapResolverError(error);
  if (cause instanceof ApiError) return false;
  if (!(cause instanceof GraphQLError)) return true;
  if (cause.originalError && !(cause.originalError instanceof GraphQLError)) return true;
  const { code } = cause.extensions;
  if (code === undefined) return cause.nodes === undefined && (error as GraphQLError).path !== undefined;
  return code === ErrorCode.INTERNAL_SERVER_ERROR;
}

const hasNoCode = (error: GraphQLError): boolean => {
  const cause = unwrapResolverError(error);
  return cause instanceof GraphQLError && cause.extensions.code === undefined;
};

/** Whether Apollo Server itself refuses the request, with its own status. */
const isRefusedRequest = ({ extensions: { http } }: GraphQLError): boolean =>
  typeof http === 'object' && http !== null && 'status' in http;

/**
 * Removes the suggestions of similar names at the end of a graphql-js message. Apollo Server removes them from
 * validation errors only, and not from errors of variables.
 */
function withoutSuggestions(message: string): string {
  // The last occurrence: the message may repeat a text of the client with these words.
  const start = message.lastIndexOf(' Did you mean ');
  return start >= 0 && message.endsWith('?') ? message.slice(0, start) : message;
}

/** The messages of GraphQL for a value that does not fit its type. */
const INVALID_VALUE = /cannot represent|^Expected value of type|does not exist in ".*" enum/;

/** Whether GraphQL refused a value, in a variable or in the document. */
const isInvalidValue = ({ message, extensions: { code } }: GraphQLError): boolean =>
  code === ErrorCode.BAD_USER_INPUT || (code === 'GRAPHQL_VALIDATION_FAILED' && INVALID_VALUE.test(message));
