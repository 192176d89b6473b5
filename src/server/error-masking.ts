import type { ApolloServerPlugin } from '@apollo/server';
import { unwrapResolverError } from '@apollo/server/errors';
import { GraphQLError, type GraphQLFormattedError } from 'graphql';

import type { RequestContext } from '../context.js';
import { ApiError, ErrorCode } from '../errors.js';
import type { Logger } from '../logger.js';
import { fieldOfMisfit } from './misfits.js';

const MASKED_MESSAGE = 'Internal server error';

/**
 * Logs every unexpected error where it is masked, and gives client and log the same request id.
 * Values that break a type's rule are reported as BAD_USER_INPUT with the field, wherever GraphQL found them.
 */
export const errorMasking = (log: Logger): ApolloServerPlugin<RequestContext> => ({
  async requestDidStart() {
    return {
      async didEncounterErrors({ errors, contextValue, document, schema, request, operationName }) {
        for (const error of errors) {
          if (isUnexpected(error)) {
            const cause = unwrapResolverError(error);
            error.extensions.requestId = contextValue.requestId;
            log.error(
              { err: cause, requestId: contextValue.requestId, path: error.path, operation: operationName },
              'Unexpected error, masked to the client',
            );
          } else if (document && error.extensions.field === undefined && isMisfit(error)) {
            const field = fieldOfMisfit(error, { document, schema, variables: request.variables });
            if (field !== undefined)
              Object.assign(error.extensions, { code: ErrorCode.BAD_USER_INPUT, field });
          }
        }
      },
    };
  },
});

/** What a client gets to see of an error. */
export function formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  if (!isUnexpected(error)) return formatted;
  const { requestId } = formatted.extensions ?? {};
  return {
    ...formatted,
    message: MASKED_MESSAGE,
    extensions: { code: ErrorCode.INTERNAL_SERVER_ERROR, ...(requestId === undefined ? {} : { requestId }) },
  };
}

/** An error that nobody meant for the client: neither one of ours nor one of GraphQL about the client's document. */
function isUnexpected(error: unknown): boolean {
  const cause = unwrapResolverError(error);
  if (cause instanceof ApiError) return false;
  if (!(cause instanceof GraphQLError)) return true;
  const { code } = cause.extensions;
  return code === undefined || code === ErrorCode.INTERNAL_SERVER_ERROR;
}

/** GraphQL's own words for a value that does not fit its type. */
const MISFIT = /cannot represent|^Expected value of type|does not exist in ".*" enum/;

/** Whether GraphQL has refused a value, be it a variable's or one in the document. */
const isMisfit = ({ message, extensions: { code } }: GraphQLError): boolean =>
  code === ErrorCode.BAD_USER_INPUT || (code === 'GRAPHQL_VALIDATION_FAILED' && MISFIT.test(message));
