import type { AnswerBudget } from './answer-budget.js';

/** What the execution of an operation needs to know of its request; resolvers get more of it, see `src/context.ts`. */
export interface OperationContext {
  readonly requestId: string;
  readonly authorization: { readonly isAuthenticated: boolean };
  /** Is told when the response is complete and may be cached; undefined if it is not to be. */
  readonly dependencies: { complete(): void } | undefined;
  /** What the answer may still hold. */
  readonly answerBudget: AnswerBudget;
}
