import type { Outcome } from './fault.js';
import type { Mutant } from './mutants.js';
import type { Trial } from './trials.js';

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
      'observations',
      'stale',
      'longest (ms)',
      'longest after a write nobody answered (ms)',
      'failed requests',
      'excused',
      'hit rate',
      'cached responses',
      'guarantee',
    ],
    outcomes.map(({ name, findings, hitRate, keptAnswers }) => [
      name,
      inThousands(findings.requests),
      inThousands(findings.observations),
      inThousands(findings.stale.count),
      findings.stale.longestMs.toFixed(0),
      findings.late.longestMs.toFixed(0),
      inThousands(findings.failures),
      inThousands(findings.excused),
      percent(hitRate),
      percent(keptAnswers),
      findings.problems.length === 0 ? 'holds' : '**broken**',
    ]),
  );

/** What a mutant came to: by the schedule made for it, and among random clients. */
export interface MutantResult {
  readonly mutant: Mutant;
  readonly trial: Trial;
  readonly load: Outcome;
}

/** Whether the checker has noticed that the server is wrong. */
export const isCaught = ({ trial }: Pick<MutantResult, 'trial'>): boolean => trial.findings.intolerable > 0;

/** One row for each mutant. */
export const mutantTable = (results: readonly MutantResult[]): string =>
  table(
    [
      'mutant',
      'schedule',
      'observations',
      'stale',
      'longest (ms)',
      'random clients, fault',
      'observations',
      'stale',
      'longest (ms)',
      'verdict',
    ],
    results.map(({ mutant, trial, load }) => [
      mutant.name,
      trial.schedule,
      inThousands(trial.findings.observations),
      inThousands(trial.findings.stale.count),
      trial.findings.stale.longestMs.toFixed(0),
      mutant.fault.name,
      inThousands(load.findings.observations),
      inThousands(load.findings.stale.count),
      load.findings.stale.longestMs.toFixed(0),
      isCaught({ trial }) ? 'caught' : '**not caught**',
    ]),
  );

/** One row for each schedule that the real server went through. */
export const scheduleTable = (trials: readonly Trial[]): string =>
  table(
    ['schedule', 'server', 'observations', 'stale', 'longest (ms)', 'guarantee'],
    trials.map(({ schedule, server, findings }) => [
      schedule,
      server,
      inThousands(findings.observations),
      inThousands(findings.stale.count),
      findings.stale.longestMs.toFixed(0),
      findings.problems.length === 0 ? 'holds' : '**broken**',
    ]),
  );
