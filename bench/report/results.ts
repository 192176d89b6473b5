import type { FaultResult } from '../measure/faults.js';
import type { GrowthResult } from '../measure/growth.js';
import type { InvalidationResult } from '../measure/invalidation.js';
import type { MemoryResult } from '../measure/memory.js';
import type { MutationResult } from '../measure/mutations.js';
import type { PairResult } from '../measure/pairs.js';
import type { ScaleOutResult } from '../measure/scale-out.js';
import type { SteadyMemoryResult } from '../measure/steady-memory.js';
import type { ThroughputResult } from '../measure/throughput.js';
import type { Machine } from './machine.js';

/** All results of a run; those that were not measured are empty or undefined. */
export interface Results {
  readonly machine: Machine;
  readonly quick: boolean;
  readonly throughput: readonly ThroughputResult[];
  readonly pairs: readonly PairResult[];
  readonly scaleOut: readonly ScaleOutResult[];
  readonly memory: readonly MemoryResult[];
  readonly mutations: MutationResult | undefined;
  readonly invalidation: readonly InvalidationResult[];
  readonly faults: readonly FaultResult[];
  readonly growth: readonly GrowthResult[];
  readonly steadyMemory: readonly SteadyMemoryResult[];
}
