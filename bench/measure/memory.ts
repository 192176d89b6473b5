import { setTimeout as pause } from 'node:timers/promises';

import { residentMegabytes } from '../support/cpu.js';
import { weighKeyspace, type KeyspaceUse } from '../support/redis-stats.js';
import type { Server } from '../support/server.js';
import { detailsRequest, listRequest, statsRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';

/** The memory of a server's keys after everything was read once, and of its process. */
export interface MemoryResult {
  readonly server: Server;
  readonly keyspace: KeyspaceUse;
  readonly residentMegabytes: number;
}

const PAGE_LENGTH = 20;
/** Time for fills, because readers do not wait for them (ms). */
const FILLED_MS = 300;

/** Reads list pages, details and statistics of the newest bots once, and measures the memory of Redis. */
export async function measureMemory(bench: Bench): Promise<MemoryResult[]> {
  const { token, orgId } = bench.data;
  const botIds = bench.data.botIds.slice(0, bench.options.pace.cachedBots);
  const requests = [
    ...Array.from({ length: botIds.length / PAGE_LENGTH }, (_, i) => listRequest(token, orgId, i + 1)),
    ...botIds.map((id) => detailsRequest(token, id)),
    ...botIds.map((id) => statsRequest(token, id)),
  ];
  const results: MemoryResult[] = [];
  for (const server of bench.servers) {
    if (server.contender.id === 'ceiling' || !server.contender.usesRedis) continue;
    const admin = bench.adminOf(server);
    await admin.flushdb();
    await bench.generator.run('load', {
      url: server.url,
      connections: 16,
      requests,
      order: 'once',
      seed: 1,
      durationMs: 0,
    });
    await pause(FILLED_MS);
    results.push({
      server,
      keyspace: await weighKeyspace(admin, kindOf),
      residentMegabytes: residentMegabytes(server.pid),
    });
  }
  bench.say('Weighed what Redis holds');
  return results;
}

/** A key with its ids left out: `bot:7f3c…:details` is `bot:{id}:details`. */
const kindOf = (key: string): string =>
  key
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '{id}')
    .replace(/page:\d+:limit:\d+/, 'page:{page}:limit:{limit}')
    .replace(/\b[0-9a-f]{64}\b/, '{hash}');
