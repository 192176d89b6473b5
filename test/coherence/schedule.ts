import type { Tolerance } from './findings.js';
import type { Span } from './span.js';
import type { CoherenceRun } from './coherence-run.js';

/**
 * Forces one interleaving of real processes by holding back single messages. The unmodified server must serve nothing
 * stale; a mutant must.
 */
export interface Schedule {
  readonly name: string;
  readonly tolerance: Tolerance;
  act(run: CoherenceRun, span: Span): Promise<void>;
}
