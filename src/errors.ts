import { GraphQLError } from 'graphql';

/** Every `extensions.code` that this server itself answers with. GraphQL's own codes for unusable documents come on top. */
export const ErrorCode = {
  UNAUTHENTICATED: 'UNAUTHENTICATED',
  FORBIDDEN: 'FORBIDDEN',
  NOT_FOUND: 'NOT_FOUND',
  BAD_USER_INPUT: 'BAD_USER_INPUT',
  CONFLICT: 'CONFLICT',
  RATE_LIMITED: 'RATE_LIMITED',
  UNAVAILABLE: 'UNAVAILABLE',
  OUT_OF_RANGE: 'OUT_OF_RANGE',
  INTERNAL_SERVER_ERROR: 'INTERNAL_SERVER_ERROR',
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** An error whose message and code are meant for the client. Everything else is masked. */
export class ApiError extends GraphQLError {
  constructor(code: ErrorCode, message: string, extensions: Record<string, unknown> = {}) {
    super(message, { extensions: { code, ...extensions } });
  }
}

/** @param reason why the caller is not known; never repeats the token. */
export const unauthenticated = (reason: string): ApiError =>
  new ApiError(ErrorCode.UNAUTHENTICATED, `Not authenticated: ${reason}`);

export const forbidden = (message: string): ApiError => new ApiError(ErrorCode.FORBIDDEN, message);

/** Says the same of a thing that does not exist and of one that the caller may not see. */
export const notFound = (what: string): ApiError => new ApiError(ErrorCode.NOT_FOUND, `${what} not found`);

/** @param field the argument or input field, as a path: `limit`, `input.name`, `messages.3.text`. */
export const badInput = (field: string, rule: string): ApiError =>
  new ApiError(ErrorCode.BAD_USER_INPUT, `${field} ${rule}`, { field });

export const conflict = (message: string, extensions: Record<string, unknown>): ApiError =>
  new ApiError(ErrorCode.CONFLICT, message, extensions);

export const rateLimited = (message: string): ApiError => new ApiError(ErrorCode.RATE_LIMITED, message);

/** A number that the type of its field cannot hold; the client gets it all the same. */
export const outOfRange = (field: string, value: number, max: number): ApiError =>
  new ApiError(ErrorCode.OUT_OF_RANGE, `${field} is ${value}, and Int holds at most ${max}`, {
    field,
    value,
  });

/**
 * A part that is needed is away; the same request can succeed later.
 * @param message says what to do
 */
export const unavailable = (message: string, extensions: Record<string, unknown> = {}): ApiError =>
  new ApiError(ErrorCode.UNAVAILABLE, message, { retryable: true, ...extensions });
