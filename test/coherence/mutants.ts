import { moduleUrl } from './compiled.js';
import type { Fault } from './fault.js';
import type { FindingKind } from './findings.js';
import { cutOffFromPostgres } from './faults/cut-off-from-postgres.js';
import { none } from './faults/none.js';
import { redisOldDump } from './faults/redis-old-dump.js';
import type { Schedule } from './schedule.js';
import { mutationShowsWrite } from './schedules/mutation-shows-write.js';
import { mutationWithoutWrite } from './schedules/mutation-without-write.js';
import { blindProcess } from './schedules/blind-process.js';
import { fillAfterEviction, fillAfterWrite } from './schedules/late-fill.js';
import { joinAfterWrite, shareAfterWrite } from './schedules/late-join.js';
import { lateReplacement } from './schedules/late-replacement.js';
import { oldDump } from './schedules/old-dump.js';
import { writeBetweenTurns } from './schedules/write-between-turns.js';
import { writeShownElsewhere } from './schedules/write-shown-elsewhere.js';
import { readBeforeCommit, writeElsewhere } from './schedules/write-while-cached.js';

/** A server with one part of the protocol broken by a module that it imports before it starts. */
export interface Mutant {
  readonly name: string;
  /** The URL of that module. */
  readonly url: string;
  /** The schedule that must catch the mutant every time. */
  readonly caughtBy: Schedule;
  /** What the checker must find. */
  readonly finding: FindingKind;
  /** The fault under which random clients can observe the mutant's errors. */
  readonly fault: Fault;
  /** Whether the response cache is on; it is off where it would hide errors of the values below. */
  readonly cachesResponses: boolean;
  /** Whether `npm test` runs it, too: without this part of the protocol nothing is guaranteed. */
  readonly isDecisive: boolean;
}

const mutant = (name: string, file: string, caughtBy: Schedule, rest: Partial<Mutant> = {}): Mutant => ({
  name,
  url: moduleUrl(`imports/mutants/${file}`),
  caughtBy,
  fault: none,
  finding: 'stale',
  cachesResponses: false,
  isDecisive: false,
  ...rest,
});

export const MUTANTS: readonly Mutant[] = [
  mutant('no generations', 'no-generations', fillAfterWrite, { isDecisive: true }),
  mutant('loads joined by key alone', 'joins-by-key', joinAfterWrite, { isDecisive: true }),
  mutant('reads of Redis shared until the reply', 'late-reads', shareAfterWrite),
  mutant('counters instead of random generations', 'counters', fillAfterEviction, { isDecisive: true }),
  mutant('invalidation before the commit', 'early-invalidation', readBeforeCommit, { isDecisive: true }),
  mutant('statistics replaced whatever is cached', 'careless-replacements', lateReplacement),
  mutant('cached responses that Redis is not asked about', 'unchecked-responses', writeElsewhere, {
    cachesResponses: true,
  }),
  mutant('values shown without helping', 'no-helping', writeShownElsewhere, {
    finding: 'backwards',
    isDecisive: true,
  }),
  mutant('help for one of several tags', 'lonely-help', writeShownElsewhere, { finding: 'backwards' }),
  mutant('answers of several moments', 'no-moment-check', writeBetweenTurns, {
    finding: 'fractured',
    isDecisive: true,
  }),
  mutant('the log trusted, however old', 'trust-without-log', blindProcess, { fault: cutOffFromPostgres }),
  mutant('no log check', 'no-log-check', oldDump, { fault: redisOldDump, isDecisive: true }),
  mutant('no log check, with cached responses', 'no-log-check', oldDump, {
    fault: redisOldDump,
    cachesResponses: true,
  }),
];

/** All schedules: those that catch a mutant, and more. The unmodified server must pass all of them. */
export const SCHEDULES: readonly Schedule[] = [
  ...new Set(MUTANTS.map(({ caughtBy }) => caughtBy)),
  mutationWithoutWrite,
  mutationShowsWrite,
];
