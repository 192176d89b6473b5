import {
  execute,
  getOperationAST,
  type DocumentNode,
  type ExecutionResult,
  type GraphQLSchema,
} from 'graphql';

import type { OperationContext } from './operation-context.js';
import type { DocumentCache } from './document-cache.js';
import { MAX_ERRORS } from './error-limits.js';

/** The body of a POST request whose form needs none of Apollo Server's rules. */
interface PlainRequest {
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>> | null;
  readonly operationName?: string | null;
}

/** The result of an operation whose resolvers have run. */
export interface ExecutedOperation {
  readonly document: DocumentNode;
  readonly variables: Readonly<Record<string, unknown>> | undefined;
  readonly result: ExecutionResult;
}

/** Options of graphql-js, here and in Apollo Server. It adds one error that says that there are too many. */
export const EXECUTION_OPTIONS = { maxCoercionErrors: MAX_ERRORS - 1 } as const;

/** What a request asks of a document. */
export interface PlannedRequest {
  readonly document: DocumentNode;
  readonly operationName: string | null | undefined;
  readonly variables: Readonly<Record<string, unknown>> | undefined;
}

/** Executes queries by plans that were made for their documents. */
export interface Plans {
  /**
   * Executes a query of a valid document. Returns its `data` as JSON; undefined if graphql-js must execute the
   * operation. Never fails.
   */
  execute(request: PlannedRequest, contextValue: OperationContext): Promise<string | undefined> | undefined;
}

/** The `data` of a query that was executed without errors, as JSON. */
export interface PlannedAnswer {
  readonly dataText: string;
}

/**
 * Executes an operation whose document Apollo Server has already parsed and found valid. It skips Apollo Server's
 * pipeline, which costs more than the execution of most operations. A plan executes a query; whatever it cannot,
 * graphql-js executes, as it does for Apollo Server.
 *
 * The operation is in the context afterwards.
 *
 * @returns undefined if Apollo Server must handle the request: its form or its document is not known to be valid, or
 * it failed before any resolver ran
 */
export async function executeKnownDocument(
  {
    schema,
    documents,
    plans,
  }: { readonly schema: GraphQLSchema; readonly documents: DocumentCache; readonly plans: Plans },
  body: unknown,
  contextValue: OperationContext,
): Promise<PlannedAnswer | ExecutedOperation | undefined> {
  if (!isPlain(body)) return undefined;
  const document = documents.get(body.query);
  if (!document) return undefined;
  const { operationName } = body;
  const variables = body.variables ?? undefined;
  contextValue.found.operation = getOperationAST(document, operationName) ?? undefined;
  // A plan calls the resolvers of many fields together, so it does not tell what each of them reads.
  const dataText = contextValue.at
    ? undefined
    : await plans.execute({ document, operationName, variables }, contextValue);
  if (dataText !== undefined) return { dataText };
  const result = await execute({
    schema,
    document,
    contextValue,
    variableValues: variables,
    operationName,
    options: EXECUTION_OPTIONS,
  });
  if (result.data === undefined) return undefined;
  return { document, variables, result };
}

/** Whether a body has the plain form: fields of the right types, and no persisted query. */
function isPlain(body: unknown): body is PlainRequest {
  if (!isRecord(body)) return false;
  const { query, variables, operationName, extensions } = body;
  return (
    typeof query === 'string' &&
    (variables == null || isRecord(variables)) &&
    (operationName == null || typeof operationName === 'string') &&
    (extensions == null || (isRecord(extensions) && !('persistedQuery' in extensions)))
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
