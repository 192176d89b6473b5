import type { LoadResult, StaleResult } from '../load/tasks.js';
import type { Server } from '../support/server.js';
import { listRequest } from '../workloads/catalogue.js';
import type { Bench } from './bench.js';
import { measureBusyBot, type BusyBotResult } from './busy-bot.js';

/** The results of two processes of a server. */
export interface PairResult {
  readonly server: Server;
  readonly burst: LoadResult;
  /** SQL statements of both processes for the whole burst. */
  readonly burstStatements: number;
  readonly stale: StaleResult;
  readonly busyBot: BusyBotResult;
}

const READERS = 16;
const WRITTEN_BOTS = 8;
const WARMING_READS = 60;

/** A cold burst of identical reads, reads beside writes, and a busy bot, over two processes of each server that caches. */
export async function measurePairs(bench: Bench): Promise<PairResult[]> {
  const results: PairResult[] = [];
  for (const server of bench.servers) {
    if (server.contender.id === 'ceiling' || !server.contender.usesRedis) continue;
    const twin = await bench.startTwin(server);
    try {
      results.push(await measurePair(bench, server, twin));
    } finally {
      await twin.stop();
    }
    bench.say(`Two processes of ${server.contender.title}`);
  }
  return results;
}

async function measurePair(bench: Bench, server: Server, twin: Server): Promise<PairResult> {
  const { data, generator, options } = bench;
  const both = [server, twin];
  // Warm up: code is slow when it runs for the first time.
  const warming = Array.from({ length: WARMING_READS }, (_, i) =>
    listRequest(data.token, data.orgId, 1 + (i % 50)),
  );
  for (const { url } of both) {
    await generator.run('load', {
      url,
      connections: 4,
      requests: warming,
      order: 'once',
      seed: 1,
      durationMs: 0,
    });
  }
  await bench.adminOf(server).flushdb();
  const statements = async () =>
    (await Promise.all(both.map(async (each) => (await each.counters()).statements))).reduce(
      (a, b) => a + b,
      0,
    );
  const before = await statements();
  const burst = await generator.run('burst', {
    urls: both.map(({ url }) => url),
    connectionsOfEach: options.pace.burst,
    request: listRequest(data.token, data.orgId, 1),
  });
  const burstStatements = (await statements()) - before;
  const stale = await generator.run('stale', {
    urls: both.map(({ url }) => url),
    token: data.token,
    orgId: data.orgId,
    botIds: data.botIds.slice(0, WRITTEN_BOTS),
    readers: READERS,
    durationMs: options.pace.staleMs,
  });
  return { server, burst, burstStatements, stale, busyBot: await measureBusyBot(bench, server, twin) };
}
