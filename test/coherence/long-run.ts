import { parseArgs } from 'node:util';

import { simulate } from '../cache/protocol/simulation.js';
import type { Outcome } from './fault.js';
import { MUTANTS, SCHEDULES } from './mutants.js';
import { faultTable, isCaught, mutantTable, scheduleTable, type MutantResult } from './report.js';
import { FAULT_RUNS, type RunOptions } from './fault-runs.js';
import { bringUpServices } from './services.js';
import {
  runMutantLoad,
  openScheduleRun,
  runMutantSchedule,
  runSchedule,
  type ScheduleResult,
} from './schedule-runs.js';

const USAGE = `Checks the cache's guarantee against real faults, and the checker against mutants of the server.

  --faults a,b        only the faults whose names contain one of these texts; "" for none
  --mutants a,b       likewise, for mutants
  --schedules a,b     likewise, for the schedules that the unmodified server must pass
  --seconds n         how long each fault lasts (30)
  --observations n    how many observations there must be without a fault (1000000)
  --simulate          instead of all this, runs the cache between models, in many orders of events
  --seed n            the seed of the simulation: the same seed gives the same orders (1)
  --states n          the simulation ends after this many distinct states (1000000)
  --list              lists all names and exits
  --help`;

/** Enough clients to keep two processors busy. */
const LOAD = {
  readers: 6,
  readerPauseMs: 0,
  writers: 4,
  writerPauseMs: 8,
  outsideWriters: 1,
  outsideWriterPauseMs: 20,
};
const MUTANT_SECONDS = 8;

const { values: given } = parseArgs({
  options: {
    faults: { type: 'string' },
    mutants: { type: 'string' },
    schedules: { type: 'string' },
    seconds: { type: 'string', default: '30' },
    observations: { type: 'string', default: '1000000' },
    simulate: { type: 'boolean', default: false },
    seed: { type: 'string', default: '1' },
    states: { type: 'string', default: '1000000' },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const chosen = <Named extends { readonly name: string }>(
  all: readonly Named[],
  texts: string | undefined,
): Named[] =>
  all.filter(({ name }) => texts?.split(',').some((text) => text !== '' && name.includes(text)) ?? true);

const log = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

interface Results {
  readonly outcomes: Outcome[];
  readonly schedules: ScheduleResult[];
  readonly mutants: MutantResult[];
}

/** Logs the counts of one run, its notes and its first few violations. */
function report(name: string, { findings, seconds }: Pick<Outcome, 'findings' | 'seconds'>): void {
  const { answers, observations, stale, backwards, fractured, failures, verified, wrongInRedis } = findings;
  const counts = `${stale.count} stale, ${backwards.count} backwards, ${fractured.count} of ${answers} answers fractured`;
  log(
    `${name}: ${observations} observations, ${counts}, ${failures} failed, ${wrongInRedis} of ${verified} stored values wrong, ${seconds.toFixed(0)} s`,
  );
  for (const line of [...findings.notes, ...findings.samples]) log(`    ${line}`);
}

async function runFaults({ outcomes }: Results, options: RunOptions, observations: number): Promise<void> {
  for (const { name, about, perform } of chosen(FAULT_RUNS, given.faults)) {
    if (options.signal.aborted) return;
    log(`\n${name} (${about})`);
    const outcome = await perform({ ...options, ...(name === 'none' ? { observations } : {}) });
    outcomes.push(outcome);
    report(name, outcome);
  }
}

async function runSchedules({ schedules: results }: Results, { signal }: RunOptions): Promise<void> {
  const schedules = chosen(SCHEDULES, given.schedules);
  if (schedules.length === 0) return;
  for (const cachesResponses of [false, true]) {
    const run = await openScheduleRun(cachesResponses);
    try {
      for (const schedule of schedules) {
        if (signal.aborted) return;
        const server = `unmodified, ${cachesResponses ? 'with' : 'without'} cached responses`;
        const result = await runSchedule(run, schedule, server, signal);
        results.push(result);
        report(`${schedule.name} (${server})`, { findings: result.findings, seconds: 0 });
      }
    } finally {
      await run.close();
    }
  }
}

async function runMutants({ mutants }: Results, options: RunOptions): Promise<void> {
  for (const mutant of chosen(MUTANTS, given.mutants)) {
    if (options.signal.aborted) return;
    const schedule = await runMutantSchedule(mutant, options.signal);
    const load = await runMutantLoad(mutant, { ...options, durationMs: MUTANT_SECONDS * 1_000 });
    mutants.push({ mutant, schedule, load });
    const { finding } = mutant;
    log(
      `mutant "${mutant.name}": ${schedule.findings[finding].count} ${finding} by schedule, ${load.findings[finding].count} among random clients`,
    );
  }
}

/** Returns whether every guarantee held and every mutant was caught. */
async function main(signal: AbortSignal): Promise<boolean> {
  const options: RunOptions = { durationMs: Number(given.seconds) * 1_000, load: LOAD, signal };
  const results: Results = { outcomes: [], schedules: [], mutants: [] };
  const takeDown = await bringUpServices();
  try {
    await runFaults(results, options, Number(given.observations));
    await runSchedules(results, options);
    await runMutants(results, options);
  } finally {
    await takeDown();
  }
  const { outcomes, schedules, mutants } = results;
  const tables = [
    outcomes.length > 0 ? faultTable(outcomes) : undefined,
    schedules.length > 0 ? scheduleTable(schedules) : undefined,
    mutants.length > 0 ? mutantTable(mutants) : undefined,
  ];
  console.log(tables.filter((text) => text !== undefined).join('\n\n'));
  const problems = [
    ...outcomes.flatMap(({ name, findings }) => findings.problems.map((problem) => `${name}: ${problem}`)),
    ...schedules.flatMap(({ name, findings }) => findings.problems.map((problem) => `${name}: ${problem}`)),
    ...mutants.filter((result) => !isCaught(result)).map(({ mutant }) => `${mutant.name}: not caught`),
    ...(signal.aborted ? ['interrupted'] : []),
  ];
  for (const problem of problems) log(problem);
  return problems.length === 0;
}

const REPORT_EVERY_MS = 10_000;

/** Simulates the protocol. Returns whether nothing was wrong. */
async function simulateProtocol(signal: AbortSignal): Promise<boolean> {
  const startedAt = process.hrtime.bigint();
  const elapsedMs = () => Number(process.hrtime.bigint() - startedAt) / 1e6;
  let reportedMs = 0;
  const onProgress = (states: number): void => {
    if (elapsedMs() - reportedMs < REPORT_EVERY_MS) return;
    reportedMs = elapsedMs();
    log(`${states} states`);
  };
  const seed = Number(given.seed);
  const { states, steps, scenarios, failure } = await simulate({
    seed,
    states: Number(given.states),
    signal,
    onProgress,
  });
  const aSecond = (states / (elapsedMs() / 1_000)).toFixed(0);
  console.log(
    `seed ${seed}: ${states} distinct states, ${steps} steps, ${scenarios} scenarios, ${aSecond} states/s`,
  );
  if (!failure) return !signal.aborted;
  const { violations, scenario } = failure;
  for (const line of [...violations, scenario, 'The steps:', ...failure.steps]) log(line);
  return false;
}

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (controller.signal.aborted) process.exit(1);
    log('\nStopping; press again to stop at once');
    controller.abort();
  });
}

if (given.help) console.log(USAGE);
else if (given.list) {
  for (const { name, about } of FAULT_RUNS) console.log(`fault     ${name}: ${about}`);
  for (const { name } of SCHEDULES) console.log(`schedule  ${name}`);
  for (const { name, caughtBy } of MUTANTS) console.log(`mutant    ${name}: caught by ${caughtBy.name}`);
} else {
  (given.simulate ? simulateProtocol : main)(controller.signal).then(
    (isGood) => process.exit(isGood ? 0 : 1),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
}
