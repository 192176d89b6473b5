import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { ApiError, ErrorCode } from '../errors.js';
import { shorten } from '../graphql/error-limits.js';
import type { Logger } from '../logger.js';
import { SECURITY_HEADERS } from './security-headers.js';

/** The path of the GraphQL endpoint. */
export const GRAPHQL_ROUTE = '/graphql';

interface FailureBody {
  readonly errors: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[];
}

/** A failure outside GraphQL. It has the form of a GraphQL answer, so that clients find the code in the usual place. */
export class HttpFailure extends Error {
  constructor(
    readonly statusCode: number,
    readonly code: ErrorCode,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** After this time (s) a client that was refused may try again. */
const RETRY_AFTER_S = 1;

/** The server has more to do than it can. */
export const overloaded = (): HttpFailure =>
  new HttpFailure(503, ErrorCode.OVERLOADED, 'The server has more to do than it can; try again later', {
    'retry-after': String(RETRY_AFTER_S),
  });

/** The body of every failure of this server: JSON with `errors`, each with a message and `extensions.code`. */
const bodyOf = (code: ErrorCode, message: string, requestId?: string): FailureBody => ({
  errors: [
    {
      message: shorten(message),
      extensions: { code, ...(requestId === undefined ? {} : { requestId }) },
    },
  ],
});

const NOTHING_HERE = 'There is nothing at this path; GraphQL is at /graphql';

export const nothingHere = (): HttpFailure => new HttpFailure(404, ErrorCode.NOT_FOUND, NOTHING_HERE);

/**
 * Answers for routes that hide themselves, and the errors of routes. Unexpected errors are logged and masked.
 * @param onGraphQLError gets the codes of the errors that the GraphQL endpoint answers with
 */
export function answerFailures(
  app: FastifyInstance,
  log: Logger,
  onGraphQLError: (code: string) => void,
): void {
  app.setNotFoundHandler((_request, reply) =>
    reply.code(404).send(bodyOf(ErrorCode.NOT_FOUND, NOTHING_HERE)),
  );
  app.setErrorHandler((error: FailedError, request, reply) => {
    const { status, headers = {}, body } = failureOf(error, request, log);
    if (request.routeOptions.url === GRAPHQL_ROUTE) {
      for (const { extensions } of body.errors) onGraphQLError(String(extensions.code));
    }
    return reply.code(status).headers(headers).send(body);
  });
}

type FailedError = Error & { statusCode?: number };

function failureOf(
  error: FailedError,
  request: FastifyRequest,
  log: Logger,
): { status: number; headers?: Readonly<Record<string, string>>; body: FailureBody } {
  if (error instanceof HttpFailure) {
    const { statusCode, headers, code, message } = error;
    return { status: statusCode, headers, body: bodyOf(code, message) };
  }
  // A service that is needed before GraphQL may be unavailable, such as the database with the user of a token.
  if (error instanceof ApiError) {
    const { message, extensions } = error;
    const status = extensions.code === ErrorCode.UNAVAILABLE ? 503 : 400;
    return { status, body: { errors: [{ message: shorten(message), extensions }] } };
  }
  const status = error.statusCode ?? 500;
  if (status < 500) return { status, body: bodyOf(ErrorCode.BAD_USER_INPUT, error.message) };
  log.error({ err: error, requestId: request.id }, 'Unexpected error, masked to the client');
  return { status: 500, body: bodyOf(ErrorCode.INTERNAL_SERVER_ERROR, 'Internal server error', request.id) };
}

/** Answers a path that cannot be decoded. Fastify calls no hooks for such a request. */
export function answerBadPath(_error: Error, request: FastifyRequest, reply: FastifyReply): void {
  for (const [name, value] of SECURITY_HEADERS) reply.header(name, value);
  void reply
    .code(400)
    .header('x-request-id', request.id)
    .send(bodyOf(ErrorCode.BAD_USER_INPUT, 'The path cannot be decoded'));
}

/** HTTP failures by the codes of Node.js; any other error means that the data is not HTTP. */
const HTTP_FAILURES: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request took too long to arrive'],
};
const NO_HTTP = ['400 Bad Request', 'The request is not valid HTTP'] as const;

/** Answers data that Node.js could not read as a request, and closes the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (socket.writable && error.code !== 'ECONNRESET') {
    const [status, message] = HTTP_FAILURES[error.code ?? ''] ?? NO_HTTP;
    const body = JSON.stringify(bodyOf(ErrorCode.BAD_USER_INPUT, message));
    const headers = SECURITY_HEADERS.map(([name, value]) => `${name}: ${value}\r\n`).join('');
    socket.write(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json; charset=utf-8\r\n${headers}` +
        `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }
  socket.destroy(error);
}

/** Answers an expectation other than `100-continue`, which no client needs. */
export function answerExpectation(_request: IncomingMessage, response: ServerResponse): void {
  const body = JSON.stringify(bodyOf(ErrorCode.BAD_USER_INPUT, 'The header Expect must be 100-continue'));
  for (const [name, value] of SECURITY_HEADERS) response.setHeader(name, value);
  response.writeHead(417, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  });
  response.end(body);
}
