import type { GraphQLError, GraphQLFormattedError } from 'graphql';

import type { CacheReport } from '../cache/response/cache-report.js';
import { badInput } from '../errors.js';
import { formatErrors } from '../graphql/error-masking.js';

/** An answer of the GraphQL endpoint before it is sent. */
export interface GraphQLAnswer {
  readonly status: number;
  readonly headers: Iterable<readonly [name: string, value: string]>;
  readonly text: string;
  /** `extensions.code` of each of its errors. */
  readonly errorCodes: readonly string[];
}

/** The codes of errors as the client gets them. */
export const codesOf = (errors: readonly GraphQLFormattedError[]): string[] =>
  errors.map(({ extensions }) => String(extensions?.code));

/** The codes of the errors in the text of an answer. Only an answer with errors is parsed. */
export function codesIn(text: string): string[] {
  if (!text.startsWith('{"errors":')) return [];
  return codesOf((JSON.parse(text) as { errors: GraphQLFormattedError[] }).errors);
}

/** Writes a result as Apollo Server does: the errors come first. */
export const toText = (result: {
  readonly errors?: readonly unknown[];
  readonly data?: unknown;
  readonly extensions?: object;
}): string => `${JSON.stringify(result)}\n`;

/** Adds the report to a complete answer, as `extensions.cache`. */
export function withReport(text: string, report: CacheReport): string {
  const answer = JSON.parse(text) as { readonly extensions?: object };
  return toText({ ...answer, extensions: { ...answer.extensions, cache: report } });
}

/** The answer to a request that is refused before it is executed. */
export const refusal = (
  status: number,
  contentType: string | undefined,
  error: GraphQLError,
): GraphQLAnswer => {
  const errors = formatErrors([error]);
  return {
    status,
    headers: [['content-type', contentType ?? 'application/json; charset=utf-8']],
    text: toText({ errors }),
    errorCodes: codesOf(errors),
  };
};

/** Returns the answer, or a short error answer if it is too large. */
export function withinBytes(answer: GraphQLAnswer, maxBytes: number): GraphQLAnswer {
  // A UTF-16 unit takes at most three bytes.
  if (answer.text.length * 3 <= maxBytes || Buffer.byteLength(answer.text) <= maxBytes) return answer;
  const error = badInput(
    'query',
    `makes an answer larger than ${Math.floor(maxBytes / 1_048_576)} MB: ask for fewer fields, or page by page`,
  );
  const errors = formatErrors([error]);
  return { ...answer, text: toText({ errors, data: null }), errorCodes: codesOf(errors) };
}
