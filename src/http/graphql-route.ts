import { HeaderMap, type HTTPGraphQLRequest } from '@apollo/server';
import type { FastifyReply, FastifyRequest } from 'fastify';

import type { Identity } from '../auth/authorization.js';
import { Consumers } from '../auth/consumers.js';
import type { CacheObserver } from '../cache/core/observer.js';
import { within, type Work } from '../cache/core/work.js';
import { MAX_EXECUTIONS } from '../cache/create-cache.js';
import type { MomentCheck } from '../cache/response/moment-check.js';
import type { ResponseCache } from '../cache/response/response-cache.js';
import { CacheReport } from '../cache/response/cache-report.js';
import { ResponseDependencies } from '../cache/response/response-dependencies.js';
import { createRequestContext, type RequestContext } from '../context.js';
import type { Resources } from '../resources.js';
import { ApiError } from '../errors.js';
import { checkDocumentLimits, DocumentTooLargeError } from '../graphql/document-limits.js';
import { executeKnownDocument } from '../graphql/execution.js';
import type { Logger } from '../logger.js';
import { responseTypeFor, statusFor } from '../graphql/content-negotiation.js';
import { formatErrors, reportErrors } from '../graphql/error-masking.js';
import {
  codesIn,
  codesOf,
  refusal,
  toText,
  withReport,
  withinBytes,
  type GraphQLAnswer,
} from './graphql-answer.js';
import type { GraphQLServer } from '../graphql/graphql-server.js';
import type { Admission } from '../overload/admission.js';
import { IdempotencyKey } from '../mutations/idempotency-key.js';
import { allowRevalidation } from './conditional-get.js';
import { parseJsonBody } from './json-body.js';
import { OperationReport, type NamedOperation, type OperationReportOptions } from './operation-report.js';
import { RequestDemand, timeLimitOf } from './request-demand.js';
import { checkVariableLimits } from '../graphql/variable-limits.js';

export type InOneSnapshot = <Result>(work: (resources: Resources) => Promise<Result>) => Promise<Result>;

export interface GraphQLRouteOptions extends OperationReportOptions {
  readonly graphql: GraphQLServer;
  readonly resources: Resources;
  readonly responseCache: ResponseCache | undefined;
  readonly momentCheck: MomentCheck;
  /** Gives `work` resources that read everything within one transaction, without the cache. */
  readonly inOneSnapshot: InOneSnapshot;
  readonly observer: Pick<CacheObserver, 'executedAgain'>;
  /** Limits what is executed at a time. */
  readonly admission: Pick<Admission, 'enter'>;
  readonly log: Logger;
  /** The maximum size of an answer, in bytes. */
  readonly maxAnswerBytes: number;
  /** Whether the sender of a request may see where its values came from. @throws HttpFailure if not */
  readonly wantsReport: (request: FastifyRequest) => boolean;
}

/** Responses to longer requests are not cached, because such requests seldom come again. */
const MAX_KEY_CHARACTERS = 100_000;

/** The details of a request that are known before its body is read. */
interface Asked {
  readonly request: FastifyRequest;
  readonly identity: Identity;
  /** The content type of the answer; undefined if the client accepts none of the available ones. */
  readonly contentType: string | undefined;
  /** Lists where the values of the answer came from, if that was asked for. */
  readonly cacheReport: CacheReport | undefined;
}

/** An answer, and the operation that it is of, if the request has a valid one. */
interface OperationAnswer extends GraphQLAnswer {
  readonly operation?: NamedOperation | undefined;
}

/**
 * Answers GraphQL requests; the returned function shows the steps. `request.body` is the body's text, and the caller has
 * been identified.
 */
export function createGraphQLHandler(options: GraphQLRouteOptions) {
  const { graphql, resources, responseCache, log, maxAnswerBytes } = options;
  const { momentCheck, inOneSnapshot, observer, admission } = options;
  const consumers = new Consumers();
  const report = new OperationReport(options);

  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
    const startedAt = performance.now();
    reply.header('cache-control', 'no-store');
    const limitMs = timeLimitOf(request);
    const { span, identity } = request;
    if (!identity) throw new Error('The caller was not identified');
    const traced = span && { span };
    const contentType = responseTypeFor(request.headers.accept);
    const cacheReport = options.wantsReport(request) ? new CacheReport() : undefined;
    const asked: Asked = { request, identity, contentType, cacheReport };

    const key = responseCache && answerKey(asked);
    if (key !== undefined && asked.contentType !== undefined) {
      const cached = await within(traced, () => responseCache?.find(key, cacheReport));
      if (cached !== undefined) {
        report.fromCache(request, cached.label, startedAt);
        reply.header('content-type', asked.contentType);
        if (cacheReport) return await reply.send(withReport(cached.body.toString(), cacheReport));
        if (request.method === 'GET' && allowRevalidation(request, reply, cached))
          return await reply.code(304).send();
        return await reply.send(cached.body);
      }
    }

    const demand = new RequestDemand(request, limitMs);
    const work = { span, demand, consumer: consumers.of(identity, request) };
    const turn = admission.enter(work);
    const use = turn instanceof Promise ? await turn : turn;
    let made: OperationAnswer;
    try {
      made = await answerAnew(asked, key, work);
    } finally {
      use.end();
    }
    const { operation, ...answer } = made;
    report.executed(request, operation, answer.errorCodes, startedAt);
    for (const [name, value] of answer.headers) reply.header(name, value);
    if (request.method === 'GET' && isWhole(answer) && !cacheReport) {
      const body = { body: answer.text, madeAt: Date.now() };
      if (allowRevalidation(request, reply, body)) return await reply.code(304).send();
    }
    return await reply
      .code(statusFor(contentType, answer))
      .send(cacheReport ? withReport(answer.text, cacheReport) : answer.text);
  };

  /**
   * Answers a request, and caches the response under the key. A query whose values are of several moments is executed
   * again: a few times, and at last in one transaction.
   */
  async function answerAnew(asked: Asked, key: string | undefined, work: Work): Promise<OperationAnswer> {
    const { body: text } = asked.request;
    const body = typeof text === 'string' ? parseJsonBody(text) : text;
    const refused = refuseLargeVariables(asked, body);
    if (refused) return refused;
    for (let execution = 1; execution <= MAX_EXECUTIONS; execution++) {
      if (execution > 1) observer.executedAgain('once more');
      asked.cacheReport?.restart();
      const dependencies = new ResponseDependencies(momentCheck.since, asked.cacheReport);
      const answer = await answerOnce(asked, body, { from: resources, dependencies, work });
      const holds = within(work, () => momentCheck.holds(dependencies));
      if (holds !== true && !(await holds)) continue;
      if (key !== undefined && answer.status === 200)
        responseCache?.keep(key, answer.text, dependencies, answer.operation?.label);
      return answer;
    }
    observer.executedAgain('in one transaction');
    return await within(work, () =>
      inOneSnapshot(async (snapshot) => {
        asked.cacheReport?.restart();
        const dependencies = new ResponseDependencies(momentCheck.since, asked.cacheReport);
        return await answerOnce(asked, body, { from: snapshot, dependencies, work });
      }),
    );
  }

  async function answerOnce(
    asked: Asked,
    body: unknown,
    {
      from,
      dependencies,
      work,
    }: { readonly from: Resources; readonly dependencies: ResponseDependencies; readonly work: Work },
  ): Promise<OperationAnswer> {
    const { request, identity, cacheReport } = asked;
    const context = createRequestContext(from, {
      requestId: request.id,
      identity,
      dependencies,
      maxCharacters: maxAnswerBytes,
      report: cacheReport,
      idempotencyKey: idempotencyKeyOf(request, body),
      work,
    });
    const answer =
      (await executeKnown(asked, body, context)) ??
      refuseLargeDocument(asked, body) ??
      (await askApollo(request, body, context));
    consumers.learn(context.authorization.knownPrincipal);
    return { ...withinBytes(answer, maxAnswerBytes), operation: report.nameOf(context) };
  }

  /** Executes an operation whose document is known, if the request has the usual form. */
  async function executeKnown(
    { request, contentType }: Asked,
    body: unknown,
    context: RequestContext,
  ): Promise<GraphQLAnswer | undefined> {
    if (request.method !== 'POST' || contentType === undefined) return undefined;
    const executed = await executeKnownDocument(graphql, body, context);
    if (!executed) return undefined;
    if ('dataText' in executed) {
      context.dependencies.complete({ hasErrors: false });
      return {
        status: 200,
        headers: [['content-type', contentType]],
        text: `{"data":${executed.dataText}}\n`,
        errorCodes: [],
      };
    }
    const { document, variables, result } = executed;
    const { errors, data } = result;
    const { operation } = context.found;
    if (operation?.operation === 'query') context.dependencies.complete({ hasErrors: errors !== undefined });
    if (errors) {
      const { requestId } = context;
      const operationName = operation?.name?.value;
      const { schema, introspection: suggestions } = graphql;
      reportErrors(log, errors, { requestId, operationName, schema, document, variables, suggestions });
    }
    const formatted = errors && formatErrors(errors);
    return {
      status: 200,
      headers: [['content-type', contentType]],
      text: toText(formatted ? { errors: formatted, data } : { data }),
      errorCodes: formatted ? codesOf(formatted) : [],
    };
  }

  /** Refuses a document that is too large to validate, before Apollo Server is called. */
  function refuseLargeDocument({ request, contentType }: Asked, body: unknown): GraphQLAnswer | undefined {
    const text = queryOf(request.method === 'GET' ? request.query : body);
    if (text === undefined || graphql.documents.get(text)) return undefined;
    try {
      checkDocumentLimits(graphql.schema, text);
      return undefined;
    } catch (error) {
      if (error instanceof DocumentTooLargeError) return refusal(400, contentType, error);
      throw error;
    }
  }

  async function askApollo(
    request: FastifyRequest,
    body: unknown,
    context: RequestContext,
  ): Promise<GraphQLAnswer> {
    const answer = await graphql.apollo.executeHTTPGraphQLRequest({
      httpGraphQLRequest: toHttpGraphQLRequest(request, body),
      context: async () => await Promise.resolve(context),
    });
    // The server does not offer incremental delivery, so every answer is complete.
    const text = answer.body.kind === 'complete' ? answer.body.string : '';
    return { status: answer.status ?? 200, headers: answer.headers, text, errorCodes: codesIn(text) };
  }
}

function idempotencyKeyOf(request: FastifyRequest, body: unknown): IdempotencyKey | undefined {
  const given = request.headers['idempotency-key'];
  return given === undefined ? undefined : new IdempotencyKey(given, body);
}

/** Whether an answer says all that was asked for. */
const isWhole = ({ status, errorCodes }: GraphQLAnswer): boolean => status === 200 && errorCodes.length === 0;

/** Refuses variables that are too large to coerce. */
function refuseLargeVariables({ contentType }: Asked, body: unknown): GraphQLAnswer | undefined {
  try {
    checkVariableLimits((body as { variables?: unknown } | null | undefined)?.variables);
    return undefined;
  } catch (error) {
    if (error instanceof ApiError) return refusal(400, contentType, error);
    throw error;
  }
}

/** The key of a cached response: the caller, the content type and the request. Undefined if it must not be cached. */
function answerKey({ request, identity, contentType }: Asked): string | undefined {
  if ('problem' in identity || contentType === undefined) return undefined;
  const isGet = request.method === 'GET';
  // Apollo Server may refuse a GET request for the type of its body.
  if (isGet && request.headers['content-type'] !== undefined) return undefined;
  const text = isGet ? request.url : request.body;
  if (typeof text !== 'string' || text.length > MAX_KEY_CHARACTERS) return undefined;
  return `${identity.userId}\n${request.method}\n${text}`;
}

/** The document in a body, or in the parameters of a URL. */
function queryOf(parameters: unknown): string | undefined {
  const query = (parameters as { query?: unknown } | null | undefined)?.query;
  return typeof query === 'string' ? query : undefined;
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
