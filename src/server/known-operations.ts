import type { ApolloServerPlugin } from '@apollo/server';
import { getOperationAST, type DocumentNode, type ExecutionResult } from 'graphql';
import { LRUCache } from 'lru-cache';

import type { RequestContext } from '../context.js';
import type { Execute } from '../graphql/execution.js';

const MOST_DOCUMENTS = 1_000;
const MOST_CHARACTERS = 2 * 1024 * 1024;

/** What came of an operation that was executed here. */
export interface Outcome {
  readonly result: ExecutionResult;
  readonly isQuery: boolean;
}

/** The parts of a request's body that say what to execute. */
interface Asked {
  readonly query: string;
  readonly variables?: Readonly<Record<string, unknown>> | null;
  readonly operationName?: string | null;
}

/**
 * Executes operations whose documents Apollo Server has parsed and found valid before, without going through its
 * pipeline again, which costs more than executing most of them does. Apollo Server stays the one that knows the rules:
 * it sees every document first, and is given every outcome that is not plain data to make the answer of.
 */
export class KnownOperations {
  private readonly documents = new LRUCache<string, DocumentNode>({
    max: MOST_DOCUMENTS,
    maxSize: MOST_CHARACTERS,
    sizeCalculation: (_, text) => text.length + 1,
  });

  /** Learns what Apollo Server lets through. */
  readonly plugin: ApolloServerPlugin<RequestContext>;

  constructor(private readonly execute: Execute) {
    const { documents } = this;
    this.plugin = {
      async requestDidStart() {
        return {
          async didResolveOperation({ source, document }) {
            documents.set(source, document);
          },
        };
      },
    };
  }

  /** Executes what a POST request's body asks for; undefined if that is Apollo Server's to judge. */
  async run(body: unknown, context: RequestContext): Promise<Outcome | undefined> {
    if (!isPlain(body)) return undefined;
    const document = this.documents.get(body.query);
    if (!document) return undefined;
    const { variables, operationName } = body;
    const result = await this.execute({
      document,
      contextValue: context,
      variableValues: variables,
      operationName,
    });
    return { result, isQuery: getOperationAST(document, operationName)?.operation === 'query' };
  }
}

/** Whether a body has the form that needs no rules: texts where they belong, and no persisted query. */
function isPlain(body: unknown): body is Asked {
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
