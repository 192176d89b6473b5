import { execute, type ExecutionArgs, type ExecutionResult, type GraphQLSchema } from 'graphql';

type Request = Pick<ExecutionArgs, 'document' | 'contextValue' | 'variableValues' | 'operationName'>;

/** Executes one operation of a valid document. */
export type Execute = (request: Request) => Promise<ExecutionResult>;

/** Executes operations with graphql-js. Nothing that a client sends ever becomes source text. */
export const executionOf =
  (schema: GraphQLSchema): Execute =>
  async (request) =>
    await execute({ schema, ...request });
