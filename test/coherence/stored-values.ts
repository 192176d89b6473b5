import { execFile } from 'node:child_process';

import type { CoherenceRun } from './coherence-run.js';
import type { RedisSide } from './redis-side.js';
import type { Span } from './span.js';

/** How long between two verifications during a run (ms). */
const PAUSE_MS = 2_000;

interface Verified {
  readonly compared: number;
  readonly stale: number;
  readonly corrupt: number;
  readonly findings: readonly { readonly problem: string; readonly key: string }[];
}

/**
 * Compares everything in Redis with PostgreSQL, as operators do, and adds what is wrong to the findings of the run.
 * Orphaned values are none: faults remove generations on purpose. Nothing is compared without Redis.
 */
export async function verifyStoredValues(run: CoherenceRun<RedisSide>): Promise<void> {
  const { redis, database, history } = run;
  const env = {
    PATH: process.env.PATH,
    DATABASE_URL: database.url,
    ...(redis.url === undefined ? {} : { REDIS_URL: redis.url }),
    ...redis.settings,
  };
  const { findings } = history;
  const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
    // It ends with 1 if it has found something.
    execFile(process.execPath, ['dist/cache-command.js', 'verify', '--json'], { env }, (_error, out, err) =>
      resolve({ stdout: out, stderr: err }),
    );
  });
  if (stdout === '') {
    findings.fail(`the cache could not be verified: ${stderr}`);
    return;
  }
  const verified = JSON.parse(stdout) as Verified;
  findings.verified += verified.compared;
  for (const { problem, key } of verified.findings)
    if (problem !== 'orphaned') findings.recordStored(`${problem}: ${key}`);
}

/** Verifies again and again until the span ends, while clients read and write. */
export async function keepVerifying(run: CoherenceRun<RedisSide>, span: Span): Promise<void> {
  while (!span.isOver) {
    await verifyStoredValues(run);
    await span.pause(Math.min(PAUSE_MS, span.leftMs));
  }
}
