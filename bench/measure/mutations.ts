import type { LatencyResult } from '../load/tasks.js';
import { graphqlRequest } from '../support/client.js';
import type { Server } from '../support/server.js';
import { updateRequest } from '../workloads/catalogue.js';
import { RECORD } from '../workloads/documents.js';
import { measureBareUpdate } from './bare-sql.js';
import type { Bench } from './bench.js';
import { inboundMessage } from './busy-bot.js';

/** The latency of mutations, one at a time. The ceiling runs the bare SQL and one Redis round trip behind bare HTTP. */
export interface MutationResult {
  /** The bare SQL and one Redis round trip in the harness itself (ms). */
  readonly bareInProcessMs: number;
  readonly update: readonly { readonly server: Server; readonly latency: LatencyResult }[];
  readonly record500: readonly { readonly server: Server; readonly latency: LatencyResult }[];
}

const LARGE_RECORD = 500;
const WRITTEN_BOTS = 100;

/** Times changes of one bot, and records of 500 messages, each server in turn. */
export async function measureMutations(bench: Bench): Promise<MutationResult> {
  const { data, options } = bench;
  const servers = bench.servers.filter(({ contender }) => contender.onlyReads !== true);
  const { mutations, largeRecords } = options.pace;
  const bots = data.botIds.slice(0, WRITTEN_BOTS);
  const before = await measureBareUpdate(bench, mutations);

  const updates = async () =>
    await bench.generator.run('alternate', {
      iterations: mutations,
      targets: servers.map((server, place) => ({
        url: bare(server, 'update'),
        requests: bots.flatMap((id, i) => [
          server.contender.id === 'ceiling'
            ? {
                token: data.token,
                body: JSON.stringify({
                  id,
                  orgId: data.orgId,
                  userId: data.ownerId,
                  name: `Changed ${place} ${i}`,
                }),
              }
            : updateRequest(data.token, id, `Changed ${place} ${i}`),
        ]),
      })),
    });
  const update = await updates();

  const messages = Array.from({ length: LARGE_RECORD }, (_, i) => inboundMessage(i));
  const record = await bench.generator.run('alternate', {
    iterations: largeRecords,
    targets: servers.map((server, place) => {
      const botId = data.botIds.at(-2 - place) as string;
      const request =
        server.contender.id === 'ceiling'
          ? { token: data.token, body: JSON.stringify({ botId, userId: data.ownerId, messages }) }
          : graphqlRequest(data.token, RECORD, { botId, messages });
      return { url: bare(server, 'record'), requests: [request] };
    }),
  });
  const after = await measureBareUpdate(bench, mutations);
  bench.say('Timed mutations');
  const withServers = (latencies: readonly LatencyResult[]) =>
    servers.map((server, i) => ({ server, latency: latencies[i] as LatencyResult }));
  return {
    bareInProcessMs: (before + after) / 2,
    update: withServers(update),
    record500: withServers(record),
  };
}

/** The ceiling has separate paths for mutations. */
const bare = ({ contender, url }: Server, path: string): string =>
  contender.id === 'ceiling' ? new URL(path, url).href : url;
