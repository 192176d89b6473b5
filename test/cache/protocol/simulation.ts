import * as fc from 'fast-check';

import { deterministic } from './deterministic.js';
import { play, small } from './scenario.js';
import { SeededScheduler } from './seeded-scheduler.js';
import { REAL, type Parts, type System } from './system.js';

export interface SimulationOptions {
  /** The same seed explores the same states in the same order. */
  readonly seed: number;
  /** The simulation ends once it has seen this many distinct states. */
  readonly states: number;
  readonly parts?: Parts;
  readonly signal?: AbortSignal;
  /** Called from time to time. */
  readonly onProgress?: (states: number) => void;
}

export interface SimulationResult {
  /** The number of distinct states: of the models, the processes' caches and cursors, and the steps under way. */
  readonly states: number;
  readonly steps: number;
  readonly scenarios: number;
  /** The first scenario in which something was wrong; the simulation ends with it. */
  readonly failure: SimulatedFailure | undefined;
}

export interface SimulatedFailure {
  readonly violations: readonly string[];
  /** What the clients did, as JSON. */
  readonly scenario: string;
  /** The steps in their order. */
  readonly steps: readonly string[];
}

const SCENARIOS_AT_ONCE = 200;

/**
 * Runs the real cache between the models, in orders that depend on the seed only, and counts the distinct states that it
 * reaches. Clocks and random numbers depend on the seed as well; only the tokens of generations do not, and no order does.
 */
export const simulate = async (options: SimulationOptions): Promise<SimulationResult> =>
  await deterministic(options.seed, async () => await explore(options));

async function explore(options: SimulationOptions): Promise<SimulationResult> {
  const { seed, states, parts = REAL, signal, onProgress } = options;
  const seen = new Set<number>();
  let [steps, scenarios] = [0, 0];
  for (;;) {
    const sample = { seed: seed + scenarios, numRuns: SCENARIOS_AT_ONCE };
    for (const scenario of fc.sample(small, sample)) {
      const scheduler = new SeededScheduler(hashOf(`${seed} ${scenarios}`));
      const observe = (system: System): void => {
        seen.add(hashOf(`${canonical(system.state)}\n${scheduler.pending}`));
      };
      const violations = await play(scheduler, scenario, parts, observe);
      steps += scheduler.taken.length;
      scenarios += 1;
      if (violations.length > 0) {
        const failure = { violations, scenario: JSON.stringify(scenario), steps: scheduler.taken };
        return { states: seen.size, steps, scenarios, failure };
      }
      if (seen.size >= states || signal?.aborted === true)
        return { states: seen.size, steps, scenarios, failure: undefined };
    }
    onProgress?.(seen.size);
  }
}

const TOKEN = /[A-Za-z0-9_-]{16}/g;

/** A state without what differs between equal states: tokens are numbered, and times to live are left out. */
function canonical(state: string): string {
  const numbers = new Map<string, string>();
  return state.replaceAll(/"expires":\d+,/g, '').replaceAll(TOKEN, (token) => {
    const known = numbers.get(token) ?? `#${numbers.size}`;
    numbers.set(token, known);
    return known;
  });
}

/** A hash of 53 bits (cyrb53). */
function hashOf(text: string): number {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 2_654_435_761);
    b = Math.imul(b ^ code, 1_597_334_677);
  }
  a = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909);
  b = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909);
  return 4_294_967_296 * (2_097_151 & b) + (a >>> 0);
}
