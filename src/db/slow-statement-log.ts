import type { Logger } from '../cache/core/logger.js';
import type { StatementEndListener } from './statements.js';

/** The maximum length of a logged statement, in characters. */
const MAX_CHARACTERS = 2_000;

/**
 * Logs statements that took at least this long. Their texts have placeholders instead of values.
 * @param thresholdMs 0: none is logged
 */
export function slowStatementLog(log: Logger, thresholdMs: number): StatementEndListener {
  return (statement, seconds) => {
    const durationMs = Math.round(seconds * 1_000);
    if (thresholdMs === 0 || durationMs < thresholdMs) return;
    log.warn({ statement: statement.slice(0, MAX_CHARACTERS), durationMs }, 'Slow SQL statement');
  };
}
