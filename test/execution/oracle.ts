import { ApolloServer, HeaderMap, type HTTPGraphQLRequest } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginLandingPageDisabled,
} from '@apollo/server/plugin/disabled';
import { isObjectType, type GraphQLSchema } from 'graphql';
import { pathToArray } from 'graphql/jsutils/Path.js';
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parse as parseJson } from 'secure-json-parse';

import { createAuthenticator } from '../../src/auth/authentication.js';
import { ResponseDependencies } from '../../src/cache/response/response-dependencies.js';
import { createCache } from '../../src/cache/create-cache.js';
import { readConfig, type Config } from '../../src/config.js';
import { AuditLogRepository, auditPages } from '../../src/audit/audit-log.repository.js';
import { createRequestContext, type RequestContext } from '../../src/context.js';
import { connectDatabase } from '../../src/db/client.js';
import { cacheConnection } from '../../src/db/cache-connection.js';
import { unavailable } from '../../src/errors.js';
import {
  checkDocumentLimits,
  DOCUMENT_LIMITS,
  DocumentTooLargeError,
} from '../../src/graphql/document-limits.js';
import { MAX_ERRORS } from '../../src/graphql/error-limits.js';
import { EXECUTION_OPTIONS } from '../../src/graphql/execution.js';
import { createResolvers } from '../../src/resolvers.js';
import { createRepositories, createResources, type Resources } from '../../src/resources.js';
import { buildGraphQLSchema } from '../../src/schema.js';
import { createLogger, type Logger } from '../../src/logger.js';
import { refuseUnacceptable, responseTypeFor, statusFor } from '../../src/graphql/content-negotiation.js';
import { errorReporting, formatError } from '../../src/graphql/error-masking.js';
import { codesIn, refusal } from '../../src/http/graphql-answer.js';
import { createMetrics } from '../../src/metrics/metrics.js';
import { SECRET } from '../support/people.js';
import type { Answer, Request } from './requests.js';

/**
 * The reference that the server must equal: Apollo Server with graphql-js on the same resolvers, reading from the database
 * without any cache. This file is all that the equivalence tests
 * know of the server's parts; the tests reach the server itself through `createApp` and HTTP.
 */
export interface Oracle {
  /**
   * Answers in this process.
   * @param first the paths, joined by dots, of the fields to resolve before all others. If several non-null fields fail,
   * GraphQL reports the one that fails first, which depends on timing.
   */
  answer(request: Request, first?: ReadonlySet<string>): Promise<Answer>;
  /** The URL at which it answers over HTTP. */
  readonly url: string;
  close(): Promise<void>;
}

/** The limits that the server configures for Apollo Server; both sides have the same. */
const SHARED = {
  introspection: true,
  parseOptions: { maxTokens: DOCUMENT_LIMITS.tokens },
  validationOptions: { maxErrors: MAX_ERRORS - 1 },
  executionOptions: EXECUTION_OPTIONS,
  allowBatchedHttpRequests: false,
  csrfPrevention: false,
  includeStacktraceInErrorResponses: false,
  stopOnTerminationSignals: false,
  formatError,
} as const;
/** Far above the cost of the generated requests. */
const MAX_CHARACTERS = 1e9;

/** Starts an oracle over a migrated database. */
export async function startOracle(databaseUrl: string): Promise<Oracle> {
  const config = readConfig({
    NODE_ENV: 'test',
    DATABASE_URL: databaseUrl,
    REDIS_URL: 'off',
    JWT_SECRET: SECRET,
  });
  const log = createLogger('silent');
  const { schema, resources, disconnect } = await composeResolvers(config, log);
  const firstOf = new WeakMap<object, FirstFields>();
  delayOthers(schema, firstOf);
  const apollo = new ApolloServer<RequestContext>({
    ...SHARED,
    schema,
    logger: log,
    plugins: [
      ApolloServerPluginCacheControlDisabled(),
      ApolloServerPluginLandingPageDisabled(),
      errorReporting(log, { suggestions: true }),
      // Neither side executes a request whose response type it cannot send.
      refuseUnacceptable,
    ],
  });
  await apollo.start();
  const authenticate = createAuthenticator(config.auth, log);

  const answer: Oracle['answer'] = async (request, first) => {
    const httpGraphQLRequest = toHttpGraphQLRequest(request);
    if (!httpGraphQLRequest) return NOT_JSON;
    const identity = await authenticate(request.headers.authorization);
    const refused = refuseLargeDocument(schema, httpGraphQLRequest);
    if (refused) return withServersStatus(request, refused);
    const context = createRequestContext(resources, {
      requestId: randomUUID(),
      identity,
      dependencies: new ResponseDependencies({ snapshot: '', xmax: -1, batches: 0 }),
      maxCharacters: MAX_CHARACTERS,
    });
    // Apollo Server copies the context, but not what it contains.
    if (first) firstOf.set(context.dependencies, new FirstFields(first));
    const response = await apollo.executeHTTPGraphQLRequest({
      httpGraphQLRequest,
      context: async () => await Promise.resolve(context),
    });
    return withServersStatus(request, {
      status: response.status ?? 200,
      type: response.headers.get('content-type') ?? null,
      body: response.body.kind === 'complete' ? response.body.string : '',
    });
  };
  const server = await serve(answer);
  return {
    answer,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`,
    async close() {
      server.closeAllConnections();
      server.close();
      await apollo.stop();
      await disconnect();
    },
  };
}

/** The one rule of statuses that Apollo Server does not have; test/contract/graphql-over-http.test.ts shows it. */
const withServersStatus = ({ headers }: Request, answer: Answer): Answer => ({
  ...answer,
  status: statusFor(responseTypeFor(headers.accept), {
    status: answer.status,
    errorCodes: codesIn(answer.body),
  }),
});

/** Documents that are too large are refused before Apollo Server sees them, on both sides. */
function refuseLargeDocument(schema: GraphQLSchema, request: HTTPGraphQLRequest): Answer | undefined {
  const query =
    request.method === 'GET'
      ? new URLSearchParams(request.search).get('query')
      : (request.body as { query?: unknown } | null | undefined)?.query;
  if (typeof query !== 'string') return undefined;
  try {
    checkDocumentLimits(schema, query);
    return undefined;
  } catch (error) {
    if (!(error instanceof DocumentTooLargeError)) throw error;
    const type = responseTypeFor(request.headers.get('accept')) ?? 'application/json; charset=utf-8';
    const { status, text } = refusal(400, type, error);
    return { status, type, body: text };
  }
}

/** How often the other fields look whether the first ones are resolved (ms). */
const LOOK_MS = 5;

/** The fields of an answer that are resolved before all others, by their paths. */
class FirstFields {
  private running = 0;

  constructor(private readonly paths: ReadonlySet<string>) {}

  /** Whether a field, or one below it, is among the first. */
  includes(path: string): boolean {
    return [...this.paths].some((each) => each === path || each.startsWith(`${path}.`));
  }

  async run(resolve: () => unknown): Promise<unknown> {
    this.running++;
    try {
      return await resolve();
    } finally {
      this.running--;
    }
  }

  /** Counts instead of waiting for a fixed time, which a busy machine exceeds. */
  async areResolved(): Promise<void> {
    do await new Promise((done) => setTimeout(done, LOOK_MS));
    while (this.running > 0);
  }
}

/** Delays fields while others of the same answer must be resolved first. */
function delayOthers(schema: GraphQLSchema, firstOf: WeakMap<object, FirstFields>): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      const { resolve } = field;
      if (!resolve) continue;
      field.resolve = (source, args, context: RequestContext | undefined, info) => {
        // Apollo Server reads the schema without a context when it starts.
        const first = context && firstOf.get(context.dependencies);
        if (!first) return resolve(source, args, context, info);
        const run = () => resolve(source, args, context, info);
        return first.includes(pathToArray(info.path).join('.'))
          ? first.run(run)
          : first.areResolved().then(run);
      };
    }
  }
}

/** The parts of `createApp` below GraphQL, with Redis off. */
async function composeResolvers(
  config: Config,
  log: Logger,
): Promise<{ schema: GraphQLSchema; resources: Resources; disconnect: () => Promise<void> }> {
  const { db, close } = connectDatabase({
    ...config.database,
    toError: ({ message }) => unavailable(message),
  });
  const cache = createCache({
    redis: config.redis.target,
    redisTimeoutMs: config.redis.timeoutMs,
    prefix: '',
    responseCacheBytes: 0,
    postgres: cacheConnection(config.database.url),
    observer: createMetrics().observer,
    log,
  });
  const repositories = createRepositories(db);
  const resources = createResources(cache.resource.bind(cache), repositories, config.cache.ttlSeconds);
  const { invalidator, helping } = cache;
  const resolvers = createResolvers({
    repositories,
    resources,
    invalidator,
    helping,
    auditPages: cache.uncached(auditPages(new AuditLogRepository(db))),
  });
  const schema = await buildGraphQLSchema(resolvers);
  return { schema, resources, disconnect: close };
}

/** The server's refusal of a body that is not JSON, or that tries to set a prototype. */
const NOT_JSON: Answer = {
  status: 400,
  type: 'application/json; charset=utf-8',
  body: '{"errors":[{"message":"The body must be JSON","extensions":{"code":"BAD_USER_INPUT"}}]}',
};

/** The parsed body; undefined if the server refuses it before GraphQL. */
function toHttpGraphQLRequest(request: Request): HTTPGraphQLRequest | undefined {
  const headers = new HeaderMap();
  for (const [name, value] of Object.entries(request.headers)) headers.set(name, value);
  const { method, search, body } = request;
  if (body === undefined) return { method, headers, search, body };
  try {
    return { method, headers, search, body: parseJson(body) as unknown };
  } catch {
    return undefined;
  }
}

async function serve(answer: (request: Request) => Promise<Answer>): Promise<Server> {
  const server = createServer((incoming, outgoing) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const { url = '', method = '' } = incoming;
      const question = url.indexOf('?');
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
      );
      const body = method === 'GET' ? undefined : Buffer.concat(chunks).toString();
      const search = question < 0 ? '' : url.slice(question);
      answer({ method: method as Request['method'], headers, search, body }).then(
        ({ status, type, body: text }) => {
          outgoing.writeHead(status, type === null ? {} : { 'content-type': type });
          outgoing.end(text);
        },
        () => outgoing.destroy(),
      );
    });
  });
  // The other end may close an idle connection just when a request is sent.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
