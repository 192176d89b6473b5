import type {
  DocumentNode,
  FragmentDefinitionNode,
  GraphQLResolveInfo,
  GraphQLSchema,
  OperationDefinitionNode,
} from 'graphql';

import type { OperationContext } from '../operation-context.js';

/** One execution of a plan. */
export interface PlanRun {
  readonly schema: GraphQLSchema;
  readonly document: DocumentNode;
  readonly operation: OperationDefinitionNode;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  readonly variableValues: Readonly<Record<string, unknown>>;
  readonly contextValue: OperationContext;
}

export type Path = GraphQLResolveInfo['path'];

/** The path of the n-th object of a level. */
export type PathOf = (n: number) => Path | undefined;

/** JSON texts, one for each object or value of a level, in their order. */
export type Column = readonly string[];

/** At once, or later. */
export type Eventually<T> = T | Promise<T>;

/** Thrown where a plan does not know what graphql-js would do: graphql-js executes the operation then. */
export class NotPlannedError extends Error {
  override readonly name = 'NotPlannedError';
}

export const isPromise = <T>(value: Eventually<T>): value is Promise<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === 'function';

/** Waits for all of these, even if one fails, so that nothing of a failed plan is under way afterwards. */
export async function waitForAll<T>(pending: readonly Eventually<T>[]): Promise<T[]> {
  try {
    return await Promise.all(pending);
  } catch (error) {
    await Promise.allSettled(pending);
    throw error;
  }
}

/** Calls `make` for each item. If one call throws, what the earlier ones have begun is waited for. */
export function collect<Item, T>(
  items: readonly Item[],
  make: (item: Item, n: number) => Eventually<T>,
): Eventually<T[]> {
  const made: Eventually<T>[] = [];
  let isLater = false;
  for (let n = 0; n < items.length; n++) {
    try {
      const result = make(items[n] as Item, n);
      isLater ||= isPromise(result);
      made.push(result);
    } catch (error) {
      if (!isLater) throw error;
      return Promise.allSettled(made).then(() => {
        throw error;
      });
    }
  }
  return isLater ? waitForAll(made) : (made as T[]);
}

/** Goes on with a result: at once if it is there. */
export const andThen = <T, Result>(
  result: Eventually<T>,
  go: (value: T) => Eventually<Result>,
): Eventually<Result> => (isPromise(result) ? result.then(go) : go(result));
