import cluster, { type Worker } from 'node:cluster';
import { get } from 'node:http';
import type { AddressInfo } from 'node:net';

import { countersIn } from '../support/metrics.js';
import type { Counters, ServerMessage } from './report.js';

const NOTHING: Counters = { statements: 0, hits: 0, misses: 0 };

/** Several processes of the production server behind one port: connections go to each of them in turn. */
async function main(): Promise<void> {
  if (!cluster.isPrimary) {
    await import('../../src/main.js');
    return;
  }
  const count = Number(process.env.BENCH_PROCESSES ?? 1);
  cluster.schedulingPolicy = cluster.SCHED_RR;
  // Each worker prints that it serves; the harness needs one message once all of them do.
  cluster.setupPrimary({ silent: true });
  const tell = (message: ServerMessage) => process.send?.(message);
  let port = 0;
  let listening = 0;
  cluster.on('listening', (_: Worker, address: AddressInfo) => {
    ({ port } = address);
    if (++listening === count) tell({ kind: 'listening', url: `http://127.0.0.1:${port}/graphql` });
  });
  const workers = Array.from({ length: count }, () => cluster.fork().process);
  for (const { stdout, stderr } of workers) {
    stdout?.resume();
    stderr?.pipe(process.stderr);
  }
  // All workers stop together: on a signal, or because one has failed.
  cluster.on('exit', (_, code) => {
    if (code !== 0) process.exit(1);
    if (--listening === 0) process.exit(0);
  });
  process.on('message', () => {
    void sumOfCounters(port, count).then((counters) => tell({ kind: 'counters', counters }));
  });
  process.on('disconnect', () => process.exit(0));
  process.on('SIGTERM', () => workers.forEach((worker) => worker.kill('SIGTERM')));
}

/** Sums the counters of all processes: new connections go to the processes in turn, so each of them is read once. */
async function sumOfCounters(port: number, processes: number): Promise<Counters> {
  let sum = NOTHING;
  for (let i = 0; i < processes; i++) {
    const { statements, hits, misses } = countersIn(await metricsOf(port));
    sum = {
      statements: sum.statements + statements,
      hits: sum.hits + hits,
      misses: sum.misses + misses,
    };
  }
  return sum;
}

const metricsOf = async (port: number): Promise<string> =>
  await new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/metrics', agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.once('end', () => resolve(text)).once('error', reject);
    }).once('error', reject);
  });

void main();
