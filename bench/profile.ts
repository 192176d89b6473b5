import 'reflect-metadata';

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { setUp } from './measure/bench.js';
import { readOptions } from './options.js';
import { contender } from './servers/contenders.js';
import { cpuMicroseconds } from './support/cpu.js';
import { readSelfTimes, type SelfTime } from './support/cpu-profile.js';
import { startServer } from './support/server.js';
import { workloads } from './workloads/catalogue.js';

const CONNECTIONS = 64;
const SHOWN = 25;
const COLD_READS = 1_600;

/**
 * `npm run bench -- profile [server] [workload] [seconds]`: where a server's CPU time goes under one workload
 * (`ours list 5` by default): packages and functions by their own time, without the start and the warm-up.
 */
async function main(): Promise<void> {
  const [id = 'ours', workloadId = 'list', seconds = '5'] = process.argv.slice(2);
  const options = { ...readOptions(['--quick']), servers: [] };
  const bench = await setUp(options, console.log);
  const folder = await mkdtemp(path.join(tmpdir(), 'flovo-profile-'));
  try {
    const workload = workloads(bench.data, COLD_READS).find((each) => each.id === workloadId);
    if (!workload) throw new Error(`There is no workload "${workloadId}"`);
    const server = await startServer(contender(id), {
      databaseUrl: bench.databaseUrl,
      redisUrl: bench.redis.url,
      execArgv: ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=500'],
    });
    const load = async (durationMs: number) =>
      await bench.generator.run('load', {
        url: server.url,
        connections: CONNECTIONS,
        requests: workload.requests,
        order: workload.cold ? 'once' : 'random',
        seed: 1,
        durationMs,
        ...(workload.updates === undefined ? {} : { among: workload.updates }),
      });
    await load(1_000);
    if (workload.cold) await bench.adminOf(server).flushdb();
    const cpu = cpuMicroseconds(server.pid);
    const { requests, errors, elapsedMs } = await load(Number(seconds) * 1_000);
    const each = (cpuMicroseconds(server.pid) - cpu) / requests;
    console.log(
      `${contender(id).title}, ${workload.title}: ${Math.round((requests * 1_000) / elapsedMs)} requests/s, ` +
        `${each.toFixed(0)} CPU µs each (with the profiler), ${errors} errors`,
    );
    await server.stop();
    const { functions, packages } = await readSelfTimes(folder, elapsedMs);
    show('By package', packages);
    show('By function, its own time', functions);
  } finally {
    await bench.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

function show(title: string, times: readonly SelfTime[]): void {
  console.log(title);
  for (const { name, part } of times.slice(0, SHOWN)) {
    console.log(`${(part * 100).toFixed(1).padStart(6)} %  ${name}`);
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
