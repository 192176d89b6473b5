import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { checkConvergence, perform } from './fault.js';
import { deadlocks } from './faults/deadlocks.js';
import { editorsDemoted } from './faults/editors-demoted.js';
import { none } from './faults/none.js';
import { outsideWrites } from './faults/outside-writes.js';
import { redisFrozen } from './faults/redis-frozen.js';
import { redisKilled } from './faults/redis-killed.js';
import { redisOldDump } from './faults/redis-old-dump.js';
import { serverKilled } from './faults/server-killed.js';
import { tablesTruncated } from './faults/tables-truncated.js';
import { WITHIN_TWO_SECONDS, type Findings } from './findings.js';
import { Span } from './span.js';
import { CoherenceRun } from './coherence-run.js';

/**
 * A short run of what `npm run coherence` does at length: clients use several server processes, everything they see is
 * checked against everything that was answered before, and things are broken meanwhile.
 */

const LOAD = {
  readers: 3,
  readerPauseMs: 12,
  writers: 2,
  writerPauseMs: 25,
  outsideWriters: 1,
  outsideWriterPauseMs: 30,
};
const NO_FAULT_MS = 3_000;
const PATIENCE_MS = 120_000;
/** A run that has seen less than this has shown nothing: it goes on until it has, however busy the machine. */
const FEW = 500;

const FAULTS = [
  serverKilled,
  redisKilled,
  redisFrozen,
  redisOldDump,
  outsideWrites,
  editorsDemoted,
  tablesTruncated,
  deadlocks,
];

const wrongIn = ({ problems, samples }: Findings) => ({ problems, samples });
const NOTHING = { problems: [], samples: [] };

const { signal } = new AbortController();
let run: CoherenceRun;

beforeAll(async () => {
  run = await CoherenceRun.open({ bots: 40 });
}, PATIENCE_MS);

afterAll(async () => {
  await run?.close();
});

test(
  'without faults, random clients see every answered write',
  async () => {
    const { findings } = await perform(none, run, new Span(NO_FAULT_MS, signal), LOAD, FEW);
    expect(wrongIn(findings)).toEqual(NOTHING);
    expect(findings.observations).toBeGreaterThanOrEqual(FEW);
    expect(findings.stale.count).toBe(0);
  },
  PATIENCE_MS,
);

describe('with faults, no read is stale by more than two seconds, and no request fails', () => {
  test.each(FAULTS.map((fault) => [fault.name, fault] as const))(
    '%s',
    async (_, fault) => {
      const { findings } = await perform(fault, run, new Span(0, signal), LOAD, FEW);
      expect(wrongIn(findings)).toEqual(NOTHING);
      expect(findings.observations).toBeGreaterThanOrEqual(FEW);
    },
    PATIENCE_MS,
  );

  test(
    "in the end every server shows the database's state",
    async () => {
      const findings = await checkConvergence(run, WITHIN_TWO_SECONDS, new Span(Infinity, signal));
      expect(wrongIn(findings)).toEqual(NOTHING);
    },
    PATIENCE_MS,
  );
});
