import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { compile } from './compiled.js';
import { MUTANTS, SCHEDULES } from './mutants.js';
import { openTrialStage, tryMutant, tryOut, type Trial } from './trials.js';
import type { Stage } from './stage.js';

/**
 * Single interleavings, brought about on purpose between real processes: the server comes through all of them, and for
 * each part of the protocol there is one that shows what a server without that part does wrong.
 */

const PATIENCE_MS = 120_000;

/** The others are told apart by `npm run coherence`, which has the time. */
const DECISIVE = MUTANTS.filter(({ isDecisive }) => isDecisive);

const { signal } = new AbortController();
let trials: Map<string, Promise<Trial>>;

/** Mutants take turns, while the tests of the real server mostly wait. */
function startMutants(): Map<string, Promise<Trial>> {
  let turn: Promise<unknown> = Promise.resolve();
  return new Map(
    DECISIVE.map((mutant) => {
      const trial = turn.then(async () => await tryMutant(mutant, signal));
      turn = trial.catch(() => undefined);
      return [mutant.name, trial];
    }),
  );
}

beforeAll(async () => {
  await compile();
  trials = startMutants();
}, PATIENCE_MS);

afterAll(async () => {
  await Promise.allSettled(trials?.values() ?? []);
}, PATIENCE_MS);

describe('the server serves nothing stale through', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await openTrialStage(true);
  }, PATIENCE_MS);

  afterAll(async () => {
    await stage?.close();
  });

  test.each(SCHEDULES.map((schedule) => [schedule.name, schedule] as const))(
    '%s',
    async (_, schedule) => {
      const { problems, samples, observations } = (await tryOut(stage, schedule, 'the real one', signal))
        .findings;
      expect({ problems, samples }).toEqual({ problems: [], samples: [] });
      expect(observations).toBeGreaterThan(0);
    },
    PATIENCE_MS,
  );
});

describe('the checker notices a server with', () => {
  test.each(DECISIVE.map(({ name }) => name))(
    '%s',
    async (name) => {
      const trial = await trials.get(name);
      expect(trial?.findings.intolerable).toBeGreaterThan(0);
      expect(trial?.findings.failures).toBe(0);
    },
    PATIENCE_MS,
  );
});
