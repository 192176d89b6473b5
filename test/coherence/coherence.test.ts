import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { compile } from './compiled.js';
import { checkConvergence, perform } from './fault.js';
import { none } from './faults/none.js';
import { outsideWrites } from './faults/outside-writes.js';
import { redisFrozen } from './faults/redis-frozen.js';
import { redisKilled } from './faults/redis-killed.js';
import { redisOldDump } from './faults/redis-old-dump.js';
import { serverKilled } from './faults/server-killed.js';
import { WITHIN_TWO_SECONDS, type Findings } from './findings.js';
import { MUTANTS, SCHEDULES } from './mutants.js';
import { Span } from './span.js';
import { Stage } from './stage.js';
import { openTrialStage, tryMutant, tryOut, type Trial } from './trials.js';

/**
 * A short run of what `npm run coherence` does at length: clients use several server processes, everything they see is
 * checked against everything that was answered before, and things are broken meanwhile.
 */

const LOAD = { readers: 3, readerPauseMs: 4, writers: 2, writerPauseMs: 15 };
const NO_FAULT_MS = 4_000;
const PATIENCE_MS = 120_000;
/** A run that has seen less than this has shown nothing. */
const FEW = 500;

const FAULTS = [serverKilled, redisKilled, redisFrozen, redisOldDump, outsideWrites];

const wrongIn = ({ problems, samples }: Findings) => ({ problems, samples });
const NOTHING = { problems: [], samples: [] };

const { signal } = new AbortController();
let trials: Map<string, Promise<Trial>>;

/** Mutants take turns, while the tests of the real server mostly wait. */
function startMutants(): Map<string, Promise<Trial>> {
  let turn: Promise<unknown> = Promise.resolve();
  return new Map(
    MUTANTS.map((mutant) => {
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
  await Promise.allSettled(trials.values());
}, PATIENCE_MS);

describe('without faults', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await openTrialStage(true);
  }, PATIENCE_MS);

  afterAll(async () => {
    await stage?.close();
  });

  test.each(SCHEDULES.map((schedule) => [schedule.name, schedule] as const))('%s', async (_, schedule) => {
    const { findings } = await tryOut(stage, schedule, 'the real one', signal);
    expect(wrongIn(findings)).toEqual(NOTHING);
  });

  test('random clients see every answered write', async () => {
    const { findings } = await perform(none, stage, new Span(NO_FAULT_MS, signal), LOAD);
    expect(wrongIn(findings)).toEqual(NOTHING);
    expect(findings.observations).toBeGreaterThan(FEW);
    expect(findings.stale.count).toBe(0);
  });
});

describe('with faults, nobody sees a state that was outdated for two seconds, and no request fails', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await Stage.open({ bots: 40 });
  }, PATIENCE_MS);

  afterAll(async () => {
    await stage?.close();
  });

  test.each(FAULTS.map((fault) => [fault.name, fault] as const))(
    '%s',
    async (_, fault) => {
      const { findings } = await perform(fault, stage, new Span(0, signal), LOAD);
      expect(wrongIn(findings)).toEqual(NOTHING);
      expect(findings.observations).toBeGreaterThan(FEW);
    },
    PATIENCE_MS,
  );

  test(
    'in the end everybody sees what the database holds',
    async () => {
      const findings = await checkConvergence(stage, WITHIN_TWO_SECONDS, new Span(Infinity, signal));
      expect(wrongIn(findings)).toEqual(NOTHING);
    },
    PATIENCE_MS,
  );
});

describe('the checker notices a server that is wrong', () => {
  test.each(MUTANTS.map(({ name }) => name))(
    '%s',
    async (name) => {
      const trial = await trials.get(name);
      expect(trial?.findings.intolerable).toBeGreaterThan(0);
      expect(trial?.findings.failures).toBe(0);
    },
    PATIENCE_MS,
  );
});
