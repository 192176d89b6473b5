import { expect, test } from '@jest/globals';

import { MUTANTS } from './protocol/mutants.js';
import { simulate } from './protocol/simulation.js';

/** A short run of `npm run coherence -- --simulate`: the same seed explores the same orders of events. */

const PATIENCE_MS = 300_000;
const STATES = 20_000;
const FEW_STATES = 2_000;
const MAX_STATES_TO_CATCH = 30_000;

test(
  'nothing is wrong in 20,000 distinct states',
  async () => {
    const { failure, states } = await simulate({ seed: 1, states: STATES });
    expect(failure).toBeUndefined();
    expect(states).toBeGreaterThanOrEqual(STATES);
  },
  PATIENCE_MS,
);

test(
  'a seed reaches the same states again, and another seed others',
  async () => {
    const first = await simulate({ seed: 2, states: FEW_STATES });
    expect(await simulate({ seed: 2, states: FEW_STATES })).toEqual(first);
    expect((await simulate({ seed: 3, states: FEW_STATES })).steps).not.toBe(first.steps);
  },
  PATIENCE_MS,
);

test.each(['values shown without helping', 'answers of several moments', 'help for one of several tags'])(
  'it finds a protocol with %s, and finds it again in the same steps',
  async (name) => {
    const mutant = MUTANTS.find((each) => each.name === name);
    const options = { seed: 1, states: MAX_STATES_TO_CATCH };
    const find = async () => await mutant?.with(async (parts) => await simulate({ ...options, parts }));
    const found = await find();
    expect(found?.failure?.violations).not.toEqual([]);
    expect(found?.failure?.steps.length).toBeGreaterThan(0);
    expect(await find()).toEqual(found);
  },
  PATIENCE_MS,
);
