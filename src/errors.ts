import { GraphQLError } from 'graphql';

/** Every `extensions.code` of this server. GraphQL adds its own codes for documents that cannot be executed. */
export const ErrorCode = {
  UNAUTHENTICATED: 'UNAUTHENTICATED',
  FORBIDDEN: 'FORBIDDEN',
  NOT_FOUND: 'NOT_FOUND',
  BAD_USER_INPUT: 'BAD_USER_INPUT',
  CONFLICT: 'CONFLICT',
  RATE_LIMITED: 'RATE_LIMITED',
  UNAVAILABLE: 'UNAVAILABLE',
  OVERLOADED: 'OVERLOADED',
  DEADLINE_EXCEEDED: 'DEADLINE_EXCEEDED',
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

/** @param reason why the caller is unknown; it must not repeat the token. */
export const unauthenticated = (reason: string): ApiError =>
  new ApiError(ErrorCode.UNAUTHENTICATED, `Not authenticated: ${reason}`);

export const forbidden = (message: string): ApiError => new ApiError(ErrorCode.FORBIDDEN, message);

/** A thing that does not exist and one that the caller may not see get the same error. */
export const notFound = (what: string): ApiError => new ApiError(ErrorCode.NOT_FOUND, `${what} not found`);

/** @param field the argument or input field, as a path: `limit`, `input.name`, `messages.3.text`. */
export const badInput = (field: string, rule: string): ApiError =>
  new ApiError(ErrorCode.BAD_USER_INPUT, `${field} ${rule}`, { field });

export const conflict = (message: string, extensions: Record<string, unknown>): ApiError =>
  new ApiError(ErrorCode.CONFLICT, message, extensions);

export const rateLimited = (message: string): ApiError => new ApiError(ErrorCode.RATE_LIMITED, message);

/** Nobody waits for the rest of the request any more: its time is over, or the client has left. */
export const deadlineExceeded = (message: string): ApiError =>
  new ApiError(ErrorCode.DEADLINE_EXCEEDED, message, { retryable: true });

/** A number that the type of its field cannot hold; the extensions contain it. */
export const outOfRange = (field: string, value: number, max: number): ApiError =>
  new ApiError(ErrorCode.OUT_OF_RANGE, `${field} is ${value}, and Int holds at most ${max}`, {
    field,
    value,
  });

/**
 * A service that the request needs is unavailable; the same request can succeed later.
 * @param message includes what the client should do
 */
export const unavailable = (message: string, extensions: Record<string, unknown> = {}): ApiError =>
  new ApiError(ErrorCode.UNAVAILABLE, message, { retryable: true, ...extensions });
