import type { AnswerBudget } from './answer-budget.js';

/**
 * The part of a request's context that the execution of an operation needs; resolvers get more, see `src/context.ts`.
 */
export interface OperationContext {
  readonly requestId: string;
  readonly authorization: { readonly isAuthenticated: boolean };
  /** Is told when the response is complete and may be cached; undefined if it must not be cached. */
  readonly dependencies: { complete(): void } | undefined;
  /** The remaining size of the answer. */
  readonly answerBudget: AnswerBudget;
}
