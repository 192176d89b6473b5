/** The maximum of GraphQL's Int. */
export const MAX_INT = 2_147_483_647;

/**
 * The nearest count that GraphQL's Int can hold. A larger count would be an error, and remove everything from the
 * answer up to the next nullable field: a whole page of bots because of the totals of one.
 */
export const toCount = (count: number): number => Math.max(0, Math.min(count, MAX_INT));
