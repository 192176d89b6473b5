/** The largest number that GraphQL's Int can be. */
export const MAX_INT = 2_147_483_647;

/**
 * A count as GraphQL's Int can say it: the nearest that it can. A count beyond would be an error instead, and cost the
 * answer everything up to the next field that may be null: a whole page of bots for the totals of one.
 */
export const toCount = (count: number): number => Math.max(0, Math.min(count, MAX_INT));
