import type { ApolloServerPlugin } from '@apollo/server';
import { unwrapResolverError } from '@apollo/server/errors';
import {
  GraphQLError,
  Kind,
  visit,
  type DocumentNode,
  type GraphQLFormattedError,
  type ValueNode,
} from 'graphql';

import type { RequestContext } from '../context.js';
import { ApiError, ErrorCode } from '../errors.js';
import type { Logger } from '../logger.js';

const MASKED_MESSAGE = 'Internal server error';

/**
 * Logs every unexpected error where it is masked, and gives client and log the same request id.
 * Values that break a type's rule are reported as BAD_USER_INPUT with the field, wherever GraphQL found them.
 */
export const errorMasking = (log: Logger): ApolloServerPlugin<RequestContext> => ({
  async requestDidStart() {
    return {
      async didEncounterErrors({ errors, contextValue, document, operationName }) {
        for (const error of errors) {
          if (isUnexpected(error)) {
            const cause = unwrapResolverError(error);
            error.extensions.requestId = contextValue.requestId;
            log.error(
              { err: cause, requestId: contextValue.requestId, path: error.path, operation: operationName },
              'Unexpected error, masked to the client',
            );
          } else if (error.extensions.field === undefined) {
            nameField(error, document);
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

function nameField(error: GraphQLError, document: DocumentNode | undefined): void {
  const { code } = error.extensions;
  if (code === ErrorCode.BAD_USER_INPUT) {
    const [, variable, path] =
      /^Variable "\$(\w+)"(?: got invalid value .*? at "\w+\.([^"]+)")?/s.exec(error.message) ?? [];
    const field = path ?? variable;
    if (field !== undefined) error.extensions.field = field;
  } else if (code === 'GRAPHQL_VALIDATION_FAILED' && document && MISFIT.test(error.message)) {
    const field = fieldOfValue(document, error.nodes?.[0] as ValueNode | undefined);
    if (field === undefined) return;
    error.extensions.code = ErrorCode.BAD_USER_INPUT;
    error.extensions.field = field;
  }
}

/** The argument or input field that a literal value was given for. */
function fieldOfValue(document: DocumentNode, value: ValueNode | undefined): string | undefined {
  let field: string | undefined;
  visit(document, {
    enter(node, _key, parent, _path, ancestors) {
      if (node !== value) return;
      for (const ancestor of [...ancestors, parent]) {
        if (
          ancestor &&
          'kind' in ancestor &&
          (ancestor.kind === Kind.ARGUMENT || ancestor.kind === Kind.OBJECT_FIELD)
        ) {
          field = ancestor.name.value;
        }
      }
    },
  });
  return field;
}
