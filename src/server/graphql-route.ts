import { HeaderMap, type ApolloServer, type HTTPGraphQLRequest } from '@apollo/server';
import type { FastifyReply, FastifyRequest } from 'fastify';

import { parse as parseJson } from 'secure-json-parse';

import type { Identity } from '../access/access.js';
import type { IdentityReader } from '../access/identity.js';
import type { AnswerCache } from '../cache/answer-cache.js';
import { ReadTrace } from '../cache/read-trace.js';
import { createRequestContext, type RequestContext, type Resources } from '../context.js';

export interface GraphQLRouteOptions {
  readonly graphql: ApolloServer<RequestContext>;
  readonly resources: Resources;
  readonly identify: IdentityReader;
  readonly answers: AnswerCache | undefined;
}

const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * Answers one GraphQL request: an answer that is kept and may be given again is sent before GraphQL runs; else Apollo
 * Server works it out. `request.body` is the body's text.
 */
export function createGraphQLHandler(options: GraphQLRouteOptions) {
  const { graphql, resources, identify, answers } = options;

  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    reply.header('cache-control', 'no-store');
    const found = identify(request.headers.authorization);
    const identity = found instanceof Promise ? await found : found;
    const key = answers && answerKey(request, identity);
    if (key !== undefined) {
      const kept = await answers?.find(key);
      if (kept !== undefined) {
        return await reply.header('content-type', JSON_TYPE).send(kept);
      }
    }

    const trace = key === undefined ? undefined : new ReadTrace();
    const context = createRequestContext(resources, {
      requestId: request.id,
      identity,
      ...(trace ? { trace } : {}),
    });
    const { status, headers, body } = await graphql.executeHTTPGraphQLRequest({
      httpGraphQLRequest: toHttpGraphQLRequest(request),
      context: async () => await Promise.resolve(context),
    });
    for (const [name, value] of headers) reply.header(name, value);
    reply.code(status ?? 200);
    // Incremental delivery is not offered, so every answer is complete.
    const text = body.kind === 'complete' ? body.string : '';
    if (key !== undefined && trace && headers.get('content-type') === JSON_TYPE) {
      answers?.keep(key, text, trace);
    }
    return await reply.send(text);
  };
}

/** What an answer depends on beside the data: who asks, what, and in which format. */
function answerKey(request: FastifyRequest, identity: Identity): string | undefined {
  if ('problem' in identity) return undefined;
  const { accept } = request.headers;
  const asked = request.method === 'GET' ? request.url : request.body;
  return typeof asked === 'string'
    ? `${identity.userId}\n${request.method} ${accept ?? ''}\n${asked}`
    : undefined;
}

/** @throws SyntaxError with the status 400 if the body is no JSON, or tries to set a prototype */
function toHttpGraphQLRequest(request: FastifyRequest): HTTPGraphQLRequest {
  const headers = new HeaderMap();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  const { url } = request;
  const query = url.indexOf('?');
  return {
    method: request.method,
    headers,
    search: query < 0 ? '' : url.slice(query),
    body: typeof request.body === 'string' ? parseBody(request.body) : request.body,
  };
}

function parseBody(text: string): unknown {
  try {
    return parseJson(text) as unknown;
  } catch (cause) {
    throw Object.assign(new SyntaxError('The body must be JSON', { cause }), { statusCode: 400 });
  }
}
