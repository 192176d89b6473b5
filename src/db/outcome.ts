import { sqlState } from './client.js';

/** SQLSTATEs that end a connection, or say outright that the outcome is unknown: a commit may have come before them. */
const UNKNOWN = /^(08...|57P..|40003)$/;

/**
 * Whether a write that failed may have been committed all the same: its connection was lost, or nobody has answered in
 * time. What PostgreSQL itself refuses was rolled back.
 */
export function isOutcomeUnknown(error: unknown): boolean {
  const state = sqlState(error);
  return state === undefined || UNKNOWN.test(state);
}
