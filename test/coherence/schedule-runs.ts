import { perform, type Outcome } from './fault.js';
import type { Findings } from './findings.js';
import type { Mutant } from './mutants.js';
import type { RunOptions } from './fault-runs.js';
import type { Schedule } from './schedule.js';
import { Span } from './span.js';
import { CoherenceRun } from './coherence-run.js';

/** The findings of one schedule on one server. */
export interface ScheduleResult {
  /** The name of the schedule. */
  readonly name: string;
  /** The name of the mutant, or a description of the unmodified server. */
  readonly server: string;
  readonly findings: Findings;
}

/** On a busy machine a delayed message can spoil the interleaving, so a mutant that was not caught runs again. */
const MAX_ATTEMPTS = 3;

/** Starts two servers, a reader and a writer, behind proxies that can hold back their messages. */
export const openScheduleRun = async (
  cachesResponses: boolean,
  imports: readonly string[] = [],
): Promise<CoherenceRun> =>
  await CoherenceRun.open({
    servers: 2,
    proxies: { redis: true, postgres: true },
    bots: 40,
    imports,
    settings: {
      RESPONSE_CACHE: cachesResponses ? 'on' : 'off',
      // The schedules delay Redis on purpose; a timeout on a busy machine must not add another fault.
      REDIS_TIMEOUT_MS: '5000',
    },
  });

/** Runs one schedule and returns what the checker found. */
export async function runSchedule(
  run: CoherenceRun,
  schedule: Schedule,
  server: string,
  signal: AbortSignal,
): Promise<ScheduleResult> {
  const findings = run.history.startFindings(schedule.tolerance);
  await schedule.act(run, new Span(Infinity, signal));
  return { name: schedule.name, server, findings };
}

/** Runs, on a mutant, the schedule that must catch it; retries while nothing was caught. */
export async function runMutantSchedule(mutant: Mutant, signal: AbortSignal): Promise<ScheduleResult> {
  const run = await openScheduleRun(mutant.cachesResponses, [mutant.url]);
  try {
    for (let attempt = 1; ; attempt++) {
      const result = await runSchedule(run, mutant.caughtBy, mutant.name, signal);
      if (result.findings.countOf(mutant.finding) > 0 || attempt === MAX_ATTEMPTS || signal.aborted)
        return result;
    }
  } finally {
    await run.close();
  }
}

/** Runs random clients against a mutant. */
export async function runMutantLoad(mutant: Mutant, options: RunOptions): Promise<Outcome> {
  const settings = { RESPONSE_CACHE: mutant.cachesResponses ? 'on' : 'off' };
  const run = await CoherenceRun.open({ ...mutant.fault.options, imports: [mutant.url], settings });
  try {
    const span = new Span(options.durationMs, options.signal);
    return { ...(await perform(mutant.fault, run, span, options.load)), name: mutant.name };
  } finally {
    await run.close();
  }
}
