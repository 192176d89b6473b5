import type { ApolloServerPlugin } from '@apollo/server';
import { GraphQLError } from 'graphql';
import Negotiator from 'negotiator';

import { ErrorCode } from '../errors.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const RESPONSE_TYPES = [
  JSON_TYPE,
  'application/graphql-response+json; charset=utf-8',
  'application/json; callbackSpec=1.0; charset=utf-8',
];
/** The usual headers of clients: a look-up is cheaper than negotiating. */
const COMMON = new Map(
  ['*/*', 'application/json', 'application/graphql-response+json,application/json;q=0.9'].map((accept) => [
    accept,
    negotiate(accept),
  ]),
);

/**
 * The content type of a GraphQL answer for an `Accept` header, by Apollo Server's rules; undefined if none is
 * allowed.
 */
export function responseTypeFor(accept: string | undefined): string | undefined {
  if (!accept) return JSON_TYPE;
  return COMMON.get(accept) ?? negotiate(accept);
}

function negotiate(accept: string): string | undefined {
  return new Negotiator({ headers: { accept } }).mediaType(RESPONSE_TYPES);
}

/** The codes of errors about a document, its operations or its variables. Errors about the request itself have others. */
const REFUSED_DOCUMENT: ReadonlySet<string> = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  ErrorCode.BAD_USER_INPUT,
]);

/**
 * The HTTP status of an answer. GraphQL over HTTP wants 200 for a well-formed request whose document or variables are
 * refused if the answer is `application/json`, because a proxy may answer with that type as well. Clients that accept
 * `application/graphql-response+json` get 400. A request that is not well-formed gets 400 in either case.
 */
export function statusFor(
  contentType: string | undefined,
  { status, errorCodes }: { readonly status: number; readonly errorCodes: readonly string[] },
): number {
  if (status !== 400 || contentType === undefined || !contentType.startsWith('application/json'))
    return status;
  return errorCodes.every((code) => REFUSED_DOCUMENT.has(code)) ? 200 : status;
}

/** Refuses an operation before it is executed: Apollo Server negotiates only when it sends the answer. */
export const refuseUnacceptable: ApolloServerPlugin = {
  async requestDidStart() {
    return {
      async didResolveOperation({ request }) {
        if (responseTypeFor(request.http?.headers.get('accept')) === undefined) {
          await Promise.reject(
            new GraphQLError('The Accept header allows no type of a GraphQL answer', {
              extensions: { code: 'BAD_REQUEST', http: { status: 406 } },
            }),
          );
        }
      },
    };
  },
};
