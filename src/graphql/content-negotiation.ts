import type { ApolloServerPlugin } from '@apollo/server';
import { GraphQLError } from 'graphql';
import Negotiator from 'negotiator';

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
