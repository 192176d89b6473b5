import { HeaderMap, type HTTPGraphQLRequest } from '@apollo/server';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LRUCache } from 'lru-cache';
import { parse as parseJson } from 'secure-json-parse';

import type { Identity } from '../access/access.js';
import type { IdentityReader } from '../access/identity.js';
import type { AnswerCache } from '../cache/answer-cache.js';
import { ReadTrace } from '../cache/read-trace.js';
import { createRequestContext, type Resources } from '../context.js';
import type { GraphQLServer } from './graphql-server.js';

export interface GraphQLRouteOptions {
  readonly graphql: GraphQLServer;
  readonly resources: Resources;
  readonly identify: IdentityReader;
  readonly answers: AnswerCache | undefined;
}

/** The most Accept headers whose outcome is remembered. */
const MOST_ACCEPTS = 100;

/**
 * Answers one GraphQL request: an answer that is kept and may be given again is sent before GraphQL runs; an operation
 * that is known is executed at once; all else Apollo Server works out. `request.body` is the body's text.
 */
export function createGraphQLHandler(options: GraphQLRouteOptions) {
  const { graphql, resources, identify, answers } = options;
  /** The type of answer that Apollo Server chose for an Accept header: it is the one that negotiates. */
  const contentTypes = new LRUCache<string, string>({ max: MOST_ACCEPTS });

  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    reply.header('cache-control', 'no-store');
    const { accept = '' } = request.headers;
    const contentType = contentTypes.get(accept);
    const found = identify(request.headers.authorization);
    const identity = found instanceof Promise ? await found : found;
    const key = answers && answerKey(request, identity);
    if (key !== undefined && contentType !== undefined) {
      const kept = await answers?.find(key);
      if (kept !== undefined) return await reply.header('content-type', contentType).send(kept);
    }

    const trace = key === undefined ? undefined : new ReadTrace();
    const context = createRequestContext(resources, {
      requestId: request.id,
      identity,
      ...(trace ? { trace } : {}),
    });
    const finish = async (type: string | undefined, text: string): Promise<FastifyReply> => {
      if (key !== undefined && trace && type !== undefined) answers?.keep(key, text, trace);
      return await reply.send(text);
    };

    const body = typeof request.body === 'string' ? parseBody(request.body) : request.body;
    const outcome =
      request.method === 'POST' && contentType !== undefined
        ? await graphql.knownOperations.run(body, context)
        : undefined;
    if (outcome?.result.data && !outcome.result.errors && contentType !== undefined) {
      if (outcome.isQuery) trace?.conclude();
      reply.header('content-type', contentType);
      return await finish(contentType, `${JSON.stringify({ data: outcome.result.data })}\n`);
    }
    const answer = await graphql.apollo.executeHTTPGraphQLRequest({
      httpGraphQLRequest: toHttpGraphQLRequest(request, body),
      context: async () => await Promise.resolve(outcome ? { ...context, outcome: outcome.result } : context),
    });
    for (const [name, value] of answer.headers) reply.header(name, value);
    const status = answer.status ?? 200;
    reply.code(status);
    const chosen = answer.headers.get('content-type');
    if (chosen !== undefined && status === 200) contentTypes.set(accept, chosen);
    // Incremental delivery is not offered, so every answer is complete.
    return await finish(chosen, answer.body.kind === 'complete' ? answer.body.string : '');
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

function toHttpGraphQLRequest(request: FastifyRequest, body: unknown): HTTPGraphQLRequest {
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
    body,
  };
}

/** @throws SyntaxError with the status 400 if the body is no JSON, or tries to set a prototype */
function parseBody(text: string): unknown {
  try {
    return parseJson(text) as unknown;
  } catch (cause) {
    throw Object.assign(new SyntaxError('The body must be JSON', { cause }), { statusCode: 400 });
  }
}
