import { perform, type Outcome } from './fault.js';
import type { Findings } from './findings.js';
import type { Mutant } from './mutants.js';
import type { RunOptions } from './runs.js';
import type { Schedule } from './schedule.js';
import { Span } from './span.js';
import { Stage } from './stage.js';

/** What a schedule has found. */
export interface Trial {
  readonly server: string;
  readonly schedule: string;
  readonly findings: Findings;
}

/** On a very busy machine the messages that a schedule holds back can be late for it by themselves. */
const MAX_ATTEMPTS = 3;

/** Two servers, the reader and the writer, with proxies to hold their messages back. */
export const openTrialStage = async (
  keepsAnswers: boolean,
  imports: readonly string[] = [],
): Promise<Stage> =>
  await Stage.open({
    servers: 2,
    proxies: { redis: true, postgres: true },
    bots: 40,
    imports,
    settings: {
      RESPONSE_CACHE: keepsAnswers ? 'on' : 'off',
      // The schedules hold Redis back themselves; a busy machine must not make a fault of its own.
      REDIS_TIMEOUT_MS: '5000',
    },
  });

/** Brings one interleaving about. */
export async function tryOut(
  stage: Stage,
  schedule: Schedule,
  server: string,
  signal: AbortSignal,
): Promise<Trial> {
  const findings = stage.history.beginChapter(schedule.tolerance);
  await schedule.run(stage, new Span(Infinity, signal));
  return { server, schedule: schedule.name, findings };
}

/** Brings the interleaving about that must catch a mutant, on the mutant. */
export async function tryMutant(mutant: Mutant, signal: AbortSignal): Promise<Trial> {
  const stage = await openTrialStage(mutant.keepsAnswers, [mutant.url]);
  try {
    for (let attempt = 1; ; attempt++) {
      const trial = await tryOut(stage, mutant.caughtBy, mutant.name, signal);
      if (trial.findings.intolerable > 0 || attempt === MAX_ATTEMPTS || signal.aborted) return trial;
    }
  } finally {
    await stage.close();
  }
}

/** Lets random clients use a mutant. */
export async function loadMutant(mutant: Mutant, options: RunOptions): Promise<Outcome> {
  const settings = { RESPONSE_CACHE: mutant.keepsAnswers ? 'on' : 'off' };
  const stage = await Stage.open({ ...mutant.fault.stage, imports: [mutant.url], settings });
  try {
    const span = new Span(options.durationMs, options.signal);
    return { ...(await perform(mutant.fault, stage, span, options.load)), name: mutant.name };
  } finally {
    await stage.close();
  }
}
