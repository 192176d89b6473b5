import type { OperationDefinitionNode } from 'graphql';

import type { AnswerBudget } from './answer-budget.js';

/**
 * The part of a request's context that the execution of an operation needs; resolvers get more, see `src/context.ts`.
 */
export interface OperationContext {
  readonly requestId: string;
  readonly authorization: { readonly isAuthenticated: boolean };
  /** Is told when a query has been executed: its response may be cached, and the query executed again. */
  readonly dependencies: { complete(outcome: { readonly hasErrors: boolean }): void };
  /**
   * The operation of a valid document, once it is known. It is in an object of its own, because Apollo Server copies the
   * context.
   */
  readonly found: { operation: OperationDefinitionNode | undefined };
  /** The remaining size of the answer. */
  readonly answerBudget: AnswerBudget;
  /** The context of the field at a path, such as `bots.items.0.stats`, if it is to be known what each field reads. */
  readonly at?: (path: string) => OperationContext;
  /** Forgets everything that was read and charged, because the operation is executed from the beginning. */
  startAgain(): void;
}
