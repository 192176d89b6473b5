import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import { deterministic } from './protocol/deterministic.js';
import { MUTANTS } from './protocol/mutants.js';
import {
  faulty,
  healthy,
  logged,
  narrow,
  outside,
  outsideNarrow,
  play,
  refreshed,
} from './protocol/scenario.js';
import { REAL, type Parts } from './protocol/system.js';

/**
 * Runs the real cache between models of Redis and PostgreSQL. Every arrival of a command, every reply and every commit is a
 * step, and the scheduler tries different orders of steps. A failure prints the seed, the path and the order.
 */

const SCENARIOS = { healthy, narrow, outside, outsideNarrow, logged, refreshed, faulty };
const RUNS = 150;
const MAX_RUNS_TO_CATCH = 2_000;
const PATIENCE_MS = 240_000;

const neverWrong = (parts: Parts, among: keyof typeof SCENARIOS) =>
  fc.asyncProperty(fc.scheduler(), SCENARIOS[among], async (scheduler, scenario) => {
    expect(await play(scheduler, scenario, parts)).toEqual([]);
  });

describe('in any order of events, a read shows', () => {
  test(
    'every write that was answered before it began, whatever is evicted',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'healthy'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'every write that was answered before it began, when all events concern one bot and one view',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'narrow'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'one moment, and nothing older than what was shown before, whoever wrote',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'outside'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'one moment, and nothing older than what was shown before, when all events concern two bots',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'outsideNarrow'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'one moment, and nothing older than what was shown before, when most is learned from the log',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'logged'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'every write that was answered before it began, while values are loaded again before they expire',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'refreshed'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );

  test(
    'every write that its process had read from the log, even if Redis lost invalidations, and every write answered since',
    async () => {
      await expect(fc.assert(neverWrong(REAL, 'faulty'), { numRuns: RUNS })).resolves.toBeUndefined();
    },
    PATIENCE_MS,
  );
});

describe('the property test finds a counterexample to a protocol with', () => {
  test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
    '%s',
    async (_, mutant) => {
      // A fixed seed, so that catching a mutant does not depend on chance.
      const { seed } = mutant;
      const budget = { numRuns: MAX_RUNS_TO_CATCH, seed, endOnFailure: true };
      const { failed, errorInstance } = await mutant.with(
        async (parts) =>
          await deterministic(seed, async () => await fc.check(neverWrong(parts, mutant.among), budget)),
      );
      expect(failed).toBe(true);
      expect(String(errorInstance)).toMatch(/though \d+ was (answered|polled|shown)|is of no moment/);
    },
    PATIENCE_MS,
  );
});
