import type { Outcome } from './fault.js';
import type { Findings } from './findings.js';
import type { Mutant } from './mutants.js';
import type { ScheduleResult } from './schedule-runs.js';

const inThousands = (count: number): string => count.toLocaleString('en');
const percent = (share: number): string => `${(share * 100).toFixed(0)}%`;

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** One row for each fault. */
export const faultTable = (outcomes: readonly Outcome[]): string =>
  table(
    [
      'fault',
      'requests',
      'answers',
      'observations',
      'stale',
      'longest (ms)',
      'backwards',
      'longest (ms)',
      'fractured answers',
      'longest (ms)',
      'longest after an unanswered write (ms)',
      'failed requests',
      'excused',
      'hit rate',
      'cached responses',
      'guarantee',
    ],
    outcomes.map(({ name, findings, hitRate, cachedResponses }) => [
      name,
      inThousands(findings.requests),
      inThousands(findings.answers),
      inThousands(findings.observations),
      inThousands(findings.stale.count),
      findings.stale.longestMs.toFixed(0),
      inThousands(findings.backwards.count),
      findings.backwards.longestMs.toFixed(0),
      inThousands(findings.fractured.count),
      findings.fractured.longestMs.toFixed(0),
      findings.late.longestMs.toFixed(0),
      inThousands(findings.failures),
      inThousands(findings.excused),
      percent(hitRate),
      percent(cachedResponses),
      findings.problems.length === 0 ? 'holds' : '**broken**',
    ]),
  );

/** The results of one mutant: of the schedule made for it, and of random clients. */
export interface MutantResult {
  readonly mutant: Mutant;
  readonly schedule: ScheduleResult;
  readonly load: Outcome;
}

/** Whether the checker has noticed that the server is wrong. */
export const isCaught = ({ mutant, schedule }: Pick<MutantResult, 'mutant' | 'schedule'>): boolean =>
  schedule.findings.countOf(mutant.finding) > 0;

/** Observations or answers of the kind that the checker must find, and the longest time (ms). */
function caughtIn({ finding }: Mutant, findings: Findings): string[] {
  const { count, longestMs } = findings[finding];
  return [inThousands(count), longestMs.toFixed(0)];
}

/** One row for each mutant. */
export const mutantTable = (results: readonly MutantResult[]): string =>
  table(
    [
      'mutant',
      'finding',
      'schedule',
      'observations',
      'found',
      'longest (ms)',
      'random clients, fault',
      'observations',
      'found',
      'longest (ms)',
      'verdict',
    ],
    results.map(({ mutant, schedule, load }) => [
      mutant.name,
      mutant.finding,
      schedule.name,
      inThousands(schedule.findings.observations),
      ...caughtIn(mutant, schedule.findings),
      mutant.fault.name,
      inThousands(load.findings.observations),
      ...caughtIn(mutant, load.findings),
      isCaught({ mutant, schedule }) ? 'caught' : '**not caught**',
    ]),
  );

/** One row for each schedule that ran on the unmodified server. */
export const scheduleTable = (results: readonly ScheduleResult[]): string =>
  table(
    ['schedule', 'server', 'observations', 'stale', 'longest (ms)', 'guarantee'],
    results.map(({ name, server, findings }) => [
      name,
      server,
      inThousands(findings.observations),
      inThousands(findings.stale.count),
      findings.stale.longestMs.toFixed(0),
      findings.problems.length === 0 ? 'holds' : '**broken**',
    ]),
  );
