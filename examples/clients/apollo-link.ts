import { ApolloLink, CombinedGraphQLErrors, Observable } from '@apollo/client';
import { SetContextLink } from '@apollo/client/link/context';
import { RetryLink } from '@apollo/client/link/retry';
import { OperationTypeNode } from 'graphql';

/** Gives each mutation a key. It is before the retries, so that all attempts have the same. */
const idempotencyKeys = new SetContextLink(({ headers, ...context }, { operationType }) =>
  operationType === OperationTypeNode.MUTATION
    ? { ...context, headers: { ...headers, 'idempotency-key': crypto.randomUUID() } }
    : { ...context, headers },
);

/** Sends a request again after an error of the network, and after an answer that says `retryable`. */
const retries = new RetryLink({
  delay: { initial: 50, max: 2_000, jitter: true },
  attempts: (count, _operation, error) =>
    count < 20 && (!CombinedGraphQLErrors.is(error) || error.errors.some(isRetryable)),
});

/** Makes an answer that says `retryable` an error, because the retries look at errors only. */
const retryableErrors = new ApolloLink(
  (operation, forward) =>
    new Observable((observer) =>
      forward(operation).subscribe({
        next: (result) => {
          if (result.errors?.some(isRetryable)) observer.error(new CombinedGraphQLErrors(result));
          else observer.next(result);
        },
        error: (error: unknown) => observer.error(error),
        complete: () => observer.complete(),
      }),
    ),
);

const isRetryable = ({
  extensions,
}: {
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}): boolean => extensions?.retryable === true;

/**
 * Links of Apollo Client that get through restarts of the server. Mutations are made once, however often they are sent.
 * @param http sends a request, such as `HttpLink`
 */
export const safeRetries = (http: ApolloLink): ApolloLink =>
  ApolloLink.from([idempotencyKeys, retries, retryableErrors, http]);
