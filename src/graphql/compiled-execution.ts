import {
  execute,
  GraphQLError,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  type GraphQLSchema,
} from 'graphql';
import { compileQuery, isCompiledQuery, type CompiledQuery } from 'graphql-jit';

/** A document is compiled when it comes for this time: what is asked once is not worth it. */
const COMPILE_AT = 3;

type Request = Pick<ExecutionArgs, 'document' | 'contextValue' | 'variableValues' | 'operationName'>;

/** Executes one operation of a valid document. */
export type Execute = (request: Request) => Promise<ExecutionResult>;

/** What is known of a document: how often it came, then its compiled operations, or that it cannot be compiled. */
interface Known {
  times: number;
  readonly compiled: Map<string, CompiledQuery | undefined>;
}

/**
 * Executes documents as graphql-js does, but compiles those that come again (graphql-jit). What is remembered hangs on
 * the parsed document, so it goes when Apollo's bounded store of documents lets go of it.
 *
 * graphql-jit differs in its errors; they are made again as graphql-js makes them, and whatever fails before any
 * resolver has run (variables that do not fit, documents that it does not compile) is left to graphql-js.
 */
export function compiledExecution(schema: GraphQLSchema): Execute {
  const documents = new WeakMap<DocumentNode, Known>();

  const compiledQueryOf = ({ document, operationName }: Request): CompiledQuery | undefined => {
    let known = documents.get(document);
    if (!known) documents.set(document, (known = { times: 0, compiled: new Map() }));
    if (++known.times < COMPILE_AT) return undefined;
    const name = operationName ?? '';
    if (!known.compiled.has(name)) {
      const compiled = compileQuery(schema, document, operationName ?? undefined);
      known.compiled.set(name, isCompiledQuery(compiled) ? compiled : undefined);
    }
    return known.compiled.get(name);
  };

  return async (request) => {
    const compiled = compiledQueryOf(request);
    if (compiled) {
      const result = await compiled.query(undefined, request.contextValue, request.variableValues ?? {});
      if (result.data !== undefined) {
        if (!result.errors) return result;
        return { ...result, errors: result.errors.map((error) => asGraphQLJs(error, request.document)) };
      }
    }
    return await execute({ schema, ...request });
  };
}

function asGraphQLJs(error: GraphQLError, document: DocumentNode): GraphQLError {
  const { message, path, originalError, locations } = error;
  const source = document.loc?.source;
  const lines = source?.body.split(/\r\n|[\n\r]/g) ?? [];
  const positions = (locations ?? []).map(
    ({ line, column }) =>
      lines.slice(0, line - 1).reduce((length, text) => length + text.length + 1, 0) + column - 1,
  );
  return new GraphQLError(message, {
    path,
    originalError,
    ...(source && positions.length > 0 ? { source, positions } : {}),
  });
}
