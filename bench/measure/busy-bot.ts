import { Generator } from '../load/generator-process.js';
import { graphqlRequest, type GraphQLRequest } from '../support/client.js';
import type { Server } from '../support/server.js';
import { detailsRequest, listRequest, statsRequest } from '../workloads/catalogue.js';
import { RECORD } from '../workloads/documents.js';
import type { Bench } from './bench.js';

/** Reads while one bot receives messages. */
export interface Reads {
  readonly requestsPerSecond: number;
  readonly hitRate: number;
  readonly statements: number;
  readonly errors: number;
}

/** Reads of bots beside a busy one, and of the busy one itself. */
export interface BusyBotResult {
  /** Reads of bots and pages without writes. */
  readonly others: Reads;
  /** Reads of the busy bot's statistics. */
  readonly busy: Reads;
  readonly messagesPerSecond: number;
  readonly writeErrors: number;
}

const MESSAGES_PER_SECOND = 200;
const READERS = 8;
const OTHER_BOTS = 200;
const OTHER_PAGES = 10;

/**
 * One bot receives 200 messages a second, one per call, through one process, while clients read other bots, then this bot,
 * through another process.
 */
export async function measureBusyBot(bench: Bench, reading: Server, writing: Server): Promise<BusyBotResult> {
  const { token, orgId, botIds } = bench.data;
  // The oldest bot, which is on none of the pages.
  const busyId = botIds.at(-1) ?? '';
  const others = [
    ...botIds.slice(0, OTHER_BOTS).flatMap((id) => [detailsRequest(token, id), statsRequest(token, id)]),
    ...Array.from({ length: OTHER_PAGES }, (_, i) => listRequest(token, orgId, i + 1)),
  ];
  const messages = Array.from({ length: 100 }, (_, i) =>
    graphqlRequest(token, RECORD, { botId: busyId, messages: [inboundMessage(i)] }),
  );
  const { generator } = bench;
  const { busyMs } = bench.options.pace;
  await generator.run('load', load(reading, others, 'once', 0));
  const read = async (requests: readonly GraphQLRequest[]): Promise<Reads> => {
    const before = await reading.counters();
    const result = await generator.run('load', load(reading, requests, 'random', busyMs));
    const after = await reading.counters();
    const hits = after.hits - before.hits;
    return {
      requestsPerSecond: (result.requests * 1_000) / result.elapsedMs,
      hitRate: hits / (hits + after.misses - before.misses),
      statements: (after.statements - before.statements) / result.requests,
      errors: result.errors,
    };
  };
  const writer = new Generator();
  try {
    const writes = writer.run('paced', {
      url: writing.url,
      requests: messages,
      perSecond: MESSAGES_PER_SECOND,
      durationMs: busyMs * 2,
    });
    const ofOthers = await read(others);
    const ofBusy = await read([statsRequest(token, busyId)]);
    const written = await writes;
    return {
      others: ofOthers,
      busy: ofBusy,
      messagesPerSecond: (written.requests * 1_000) / written.elapsedMs,
      writeErrors: written.errors,
    };
  } finally {
    writer.stop();
  }
}

/** A message as clients record it. */
export const inboundMessage = (i: number) => ({
  conversationId: `conversation-${i % 10}`,
  contactId: `contact-${i % 5}`,
  direction: 'INBOUND',
  status: 'DELIVERED',
  text: `Message ${i}`,
});

const load = (
  server: Server,
  requests: readonly GraphQLRequest[],
  order: 'random' | 'once',
  durationMs: number,
) => ({
  url: server.url,
  connections: READERS,
  requests,
  order,
  seed: 1,
  durationMs,
});
