import { setTimeout as pause } from 'node:timers/promises';

import type { RedisService } from '../../src/dev/services/redis.js';
import type { Contender } from '../servers/contenders.js';
import { ask, type GraphQLRequest } from '../support/client.js';
import { median } from '../support/numbers.js';
import { startServer } from '../support/server.js';
import { listRequest, updateRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The results of successive requests while Redis does not answer. */
export interface Outage {
  readonly firstMs: number;
  /** The median of those after the first. */
  readonly nextMs: number;
  readonly worstMs: number;
  /** Requests without data, the changes among them. */
  readonly errors: number;
  readonly requests: number;
  readonly updateMs: number;
}

/** The results of a server during outages of Redis. */
export interface FaultResult {
  readonly contender: Contender;
  readonly frozen: Outage;
  readonly killed: Outage;
  /** Whether a read is answered after Redis was thawed. */
  readonly recovers: boolean;
}

/** A request that takes longer counts as failed. */
const PATIENCE_MS = 2_000;
const READS = 10;
const RECOVERY_MS = 1_500;
/** Timeout of a command, as in our server. */
const OPPONENTS_TIMEOUT = { BENCH_REDIS_COMMAND_TIMEOUT_MS: '100' };

/** Freezes and kills the Redis of each server, all at once: this measures waiting, not load. */
export async function measureFaults(bench: Bench): Promise<FaultResult[]> {
  const results = await Promise.all(
    bench.servers
      .filter(({ contender }) => contender.usesRedis && contender.id !== 'ceiling')
      .map(async ({ contender }) => await measureFault(bench, contender)),
  );
  bench.say('Froze and killed Redis');
  return results;
}

async function measureFault(bench: Bench, contender: Contender): Promise<FaultResult> {
  const redis = await bench.services.startRedis();
  const server = await startServer(contender, {
    databaseUrl: bench.databaseUrl,
    redisUrl: redis.url,
    env: OPPONENTS_TIMEOUT,
  });
  try {
    const { token, orgId, botIds } = bench.data;
    const read = listRequest(token, orgId, 1);
    const update = updateRequest(token, botIds[0] ?? '', `During an outage ${server.pid}`);
    for (let i = 0; i < 5; i++) await timed(server.url, read);
    await timed(server.url, update);
    const frozen = await during(redis, 'freeze', async () => await outage(server.url, read, update));
    await pause(RECOVERY_MS);
    const recovered = await timed(server.url, read);
    const killed = await during(redis, 'kill', async () => await outage(server.url, read, update));
    return { contender, frozen, killed, recovers: recovered.answered };
  } finally {
    await server.stop();
  }
}

async function during(
  redis: RedisService,
  fault: 'freeze' | 'kill',
  work: () => Promise<Outage>,
): Promise<Outage> {
  if (fault === 'freeze') redis.freeze();
  else await redis.kill();
  try {
    return await work();
  } finally {
    if (fault === 'freeze') redis.thaw();
  }
}

async function outage(url: string, read: GraphQLRequest, update: GraphQLRequest): Promise<Outage> {
  const reads: Timed[] = [];
  for (let i = 0; i < READS && total(reads) < PATIENCE_MS; i++) reads.push(await timed(url, read));
  const updated = await timed(url, update);
  const [first, ...next] = reads.map(({ ms }) => ms);
  return {
    firstMs: first ?? NaN,
    nextMs: median(next),
    worstMs: Math.max(...reads.map(({ ms }) => ms), updated.ms),
    errors: [...reads, updated].filter(({ answered }) => !answered).length,
    requests: reads.length + 1,
    updateMs: updated.ms,
  };
}

interface Timed {
  readonly ms: number;
  readonly answered: boolean;
}

const total = (requests: readonly Timed[]): number => requests.reduce((sum, { ms }) => sum + ms, 0);

async function timed(url: string, request: GraphQLRequest): Promise<Timed> {
  const startedAt = performance.now();
  const answered = await ask(url, request, PATIENCE_MS).then(
    ({ data, code }) => data != null && code === undefined,
    () => false,
  );
  return { ms: performance.now() - startedAt, answered };
}
