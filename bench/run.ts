import 'reflect-metadata';

import { writeFile } from 'node:fs/promises';
import path from 'node:path';

import { setUp } from './measure/bench.js';
import { measureFaults } from './measure/faults.js';
import { measureGrowth } from './measure/growth.js';
import { measureInvalidation } from './measure/invalidation.js';
import { measureMemory } from './measure/memory.js';
import { measureMutations } from './measure/mutations.js';
import { measurePairs } from './measure/pairs.js';
import { measureScaleOut } from './measure/scale-out.js';
import { measureSteadyMemory } from './measure/steady-memory.js';
import { measureThroughput } from './measure/throughput.js';
import { verify } from './measure/verify.js';
import { readOptions, type Options } from './options.js';
import { busyBotTables, faultTables, pairTables } from './report/behaviour.js';
import { drawChart } from './report/chart.js';
import {
  growthTables,
  invalidationTables,
  memoryTables,
  mutationTables,
  steadyMemoryTables,
} from './report/costs.js';
import { toDocument } from './report/document.js';
import { goalsTable } from './report/goals.js';
import { describeMachine } from './report/machine.js';
import type { Results } from './report/results.js';
import { scaleOutTables } from './report/scale-out.js';
import { toText, type Table } from './report/table.js';
import { throughputTables } from './report/throughput.js';
import { workloads } from './workloads/catalogue.js';

const startedAt = performance.now();
const say = (line: string): void =>
  console.log(`[${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6)} s] ${line}`);

/**
 * `npm run bench [-- --quick] [-- --growth]`: measures this server beside its peers, prints tables, and writes
 * `bench/RESULTS.md` and `bench/results.svg` (only if everything was measured).
 */
async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  const results = await measureAll(options);
  const tables = [
    ...goalsTable(results),
    ...throughputTables(results.throughput),
    ...pairTables(results.pairs),
    ...busyBotTables(results.pairs),
    ...scaleOutTables(results.scaleOut),
    ...mutationTables(results.mutations),
    ...invalidationTables(results.invalidation, options.pace.otherKeys),
    ...faultTables(results.faults),
    ...memoryTables(results.memory, options.pace.cachedBots),
    ...growthTables(results.growth),
    ...steadyMemoryTables(results.steadyMemory),
  ];
  for (const table of tables) console.log(toText(table));
  complain(results);
  if (options.partial) say('Not everything was measured: bench/RESULTS.md is left as it is');
  else await writeReport(results, tables);
}

async function measureAll(options: Options): Promise<Results> {
  const bench = await setUp(options, say);
  try {
    const wants = (part: string): boolean => options.parts.includes(part);
    const all = workloads(bench.data, options.pace.coldReads).filter(
      ({ id }) => options.workloads?.includes(id) !== false,
    );
    await verify(bench, all);
    return {
      quick: options.quick,
      throughput: wants('throughput') ? await measureThroughput(bench, all) : [],
      memory: wants('memory') ? await measureMemory(bench) : [],
      pairs: wants('pairs') ? await measurePairs(bench) : [],
      scaleOut: wants('scale-out') ? await measureScaleOut(bench) : [],
      mutations: wants('mutations') ? await measureMutations(bench) : undefined,
      invalidation: wants('invalidation') ? await measureInvalidation(bench) : [],
      faults: wants('faults') ? await measureFaults(bench) : [],
      growth: wants('growth') ? await measureGrowth(bench) : [],
      steadyMemory: wants('steady-memory') ? await measureSteadyMemory(bench) : [],
      machine: await describeMachine(bench),
    };
  } finally {
    await bench.stop();
  }
}

/** Reports answers without data under load, which make a comparison invalid. */
function complain({ throughput }: Results): void {
  for (const { workload, server, rounds } of throughput) {
    const errors = rounds.reduce((sum, round) => sum + round.errors, 0);
    const reason = rounds.find(({ firstError }) => firstError !== undefined)?.firstError;
    if (errors > 0) say(`${server.contender.title}, ${workload.id}: ${errors} requests failed (${reason})`);
  }
}

async function writeReport(results: Results, tables: readonly Table[]): Promise<void> {
  const folder = path.join(process.cwd(), 'bench');
  await writeFile(path.join(folder, 'RESULTS.md'), toDocument(results, tables));
  await writeFile(path.join(folder, 'results.svg'), drawChart(results.throughput));
  say('Wrote bench/RESULTS.md and bench/results.svg');
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
