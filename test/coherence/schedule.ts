import type { Tolerance } from './findings.js';
import type { Span } from './span.js';
import type { Stage } from './stage.js';

/**
 * One interleaving, brought about on purpose by holding single messages back between real processes. The system must
 * come through it; a mutant must not.
 */
export interface Schedule {
  readonly name: string;
  readonly tolerance: Tolerance;
  run(stage: Stage, span: Span): Promise<void>;
}
