import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { compile } from './compiled.js';
import { MUTANTS, SCHEDULES } from './mutants.js';
import { openScheduleRun, runMutantSchedule, runSchedule, type ScheduleResult } from './schedule-runs.js';
import type { CoherenceRun } from './coherence-run.js';

/**
 * Each schedule forces one interleaving between real processes. The unmodified server must pass all of them. For each
 * part of the protocol, one schedule must catch a server that lacks that part.
 */

const PATIENCE_MS = 120_000;

/** The other mutants run only in `npm run coherence`, which takes half an hour. */
const DECISIVE = MUTANTS.filter(({ isDecisive }) => isDecisive);

const { signal } = new AbortController();
let results: Map<string, Promise<ScheduleResult>>;

/** Runs the mutants one after another, while the tests of the unmodified server mostly wait. */
function startMutants(): Map<string, Promise<ScheduleResult>> {
  let turn: Promise<unknown> = Promise.resolve();
  return new Map(
    DECISIVE.map((mutant) => {
      const result = turn.then(async () => await runMutantSchedule(mutant, signal));
      turn = result.catch(() => undefined);
      return [mutant.name, result];
    }),
  );
}

beforeAll(async () => {
  await compile();
  results = startMutants();
}, PATIENCE_MS);

afterAll(async () => {
  await Promise.allSettled(results?.values() ?? []);
}, PATIENCE_MS);

describe('the unmodified server serves nothing wrong in the schedule', () => {
  let run: CoherenceRun;

  beforeAll(async () => {
    run = await openScheduleRun(true);
  }, PATIENCE_MS);

  afterAll(async () => {
    await run?.close();
  });

  test.each(SCHEDULES.map((schedule) => [schedule.name, schedule] as const))(
    '%s',
    async (_, schedule) => {
      const { problems, samples, observations } = (await runSchedule(run, schedule, 'unmodified', signal))
        .findings;
      expect({ problems, samples }).toEqual({ problems: [], samples: [] });
      expect(observations).toBeGreaterThan(0);
    },
    PATIENCE_MS,
  );
});

describe('the checker catches the mutant', () => {
  test.each(DECISIVE.map(({ name, finding }) => [name, finding] as const))(
    '%s',
    async (name, finding) => {
      const result = await results.get(name);
      expect(result?.findings.countOf(finding)).toBeGreaterThan(0);
      expect(result?.findings.failures).toBe(0);
    },
    PATIENCE_MS,
  );
});
