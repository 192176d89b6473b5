/** A GraphQL answer. */
export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly data: unknown;
  /** The code of the first error. */
  readonly code: string | undefined;
}

/** A request as a front end makes it. */
export interface GraphQLRequest {
  readonly token: string | undefined;
  /** The body: the operation and its variables as JSON. */
  readonly body: string;
}

/** Makes a request of an operation. The same operation and variables always give the same text. */
export const graphqlRequest = (
  token: string | undefined,
  query: string,
  variables: object,
): GraphQLRequest => ({
  token,
  body: JSON.stringify({ query, variables }),
});

/** Sends one request that is not measured. @throws Error if there is no answer in time */
export async function ask(url: string, request: GraphQLRequest, timeoutMs = 10_000): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(request.token === undefined ? {} : { authorization: `Bearer ${request.token}` }),
    },
    body: request.body,
    signal: AbortSignal.timeout(timeoutMs),
  });
  const text = await response.text();
  const { data, errors } = JSON.parse(text) as {
    data?: unknown;
    errors?: readonly { extensions?: { code?: string }; message: string }[];
  };
  return { status: response.status, text, data, code: errors?.[0]?.extensions?.code ?? errors?.[0]?.message };
}
