import type { Redis } from 'ioredis';

import type { Server } from '../support/server.js';
import { updateRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The latency of an update with few and with many other keys in the same Redis database (p50, ms). */
export interface InvalidationResult {
  readonly server: Server;
  readonly fewMs: number;
  readonly manyMs: number;
}

const FEW = 10;
const KEYS_A_SCRIPT = 50_000;
const FILL = `
for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', 'other:' .. i, 'value ' .. i) end
return 1`;

/** Times updates with few and with many other keys, server by server. */
export async function measureInvalidation(bench: Bench): Promise<InvalidationResult[]> {
  const results: InvalidationResult[] = [];
  for (const server of bench.servers) {
    if (server.contender.id === 'ceiling' || !server.contender.usesRedis) continue;
    const admin = bench.adminOf(server);
    await admin.flushdb();
    await fill(admin, 1, FEW);
    const fewMs = await updateMs(bench, server, 1);
    await fill(admin, FEW + 1, bench.options.pace.otherKeys);
    const manyMs = await updateMs(bench, server, 2);
    await admin.flushdb();
    results.push({ server, fewMs, manyMs });
  }
  bench.say('Invalidated among other keys');
  return results;
}

async function fill(admin: Redis, from: number, to: number): Promise<void> {
  for (let start = from; start <= to; start += KEYS_A_SCRIPT) {
    await admin.eval(FILL, 0, start, Math.min(to, start + KEYS_A_SCRIPT - 1));
  }
}

async function updateMs(bench: Bench, server: Server, run: number): Promise<number> {
  const { token, botIds } = bench.data;
  const [latency] = await bench.generator.run('alternate', {
    iterations: Math.ceil(bench.options.pace.mutations / 4),
    targets: [
      {
        url: server.url,
        requests: botIds
          .slice(0, 50)
          .map((id, i) => updateRequest(token, id, `Among ${run} ${i} ${server.pid}`)),
      },
    ],
  });
  return latency?.p50Ms ?? NaN;
}
