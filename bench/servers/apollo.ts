import 'reflect-metadata';

import { createHash } from 'node:crypto';
import { ApolloServer, type ApolloServerPlugin } from '@apollo/server';
import { ApolloServerPluginCacheControl } from '@apollo/server/plugin/cacheControl';
import { ApolloServerPluginCacheControlDisabled } from '@apollo/server/plugin/disabled';
import responseCache from '@apollo/server-plugin-response-cache';
import { KeyvAdapter } from '@apollo/utils.keyvadapter';
import { ErrorsAreMissesCache } from '@apollo/utils.keyvaluecache';
import KeyvRedis, { createClient } from '@keyv/redis';
import DataLoader from 'dataloader';
import Fastify, { type FastifyRequest } from 'fastify';
import { Keyv } from 'keyv';

import type { BotsArgs, UpdateBotInput } from '../../src/bots/bot.input.js';
import type { Bot } from '../../src/bots/bot.type.js';
import { DateTime } from '../../src/graphql/date-time.scalar.js';
import type { MessageInput } from '../../src/messages/message.input.js';
import type { BotStats } from '../../src/stats/bot-stats.type.js';
import { withCacheHints } from './apollo-hints.js';
import { createApolloHandler } from './apollo-route.js';
import type { Caller } from './callers.js';
import { createOpponent, SDL } from './opponent.js';
import { commandTimeoutMs } from './redis.js';
import { Tally } from './report.js';
import { redisUrl } from './settings.js';

/**
 * C: Apollo Server with its response cache in Redis (keyv, errors are misses), our TTLs as cache hints, with cached responses
 * apart by the caller's organizations, and the recipe of Apollo's documentation after writes: keys get a readable
 * prefix, and SCAN finds those to delete. With BENCH_RESPONSE_CACHE=off: Apollo Server as it is without a cache.
 */

interface Context {
  readonly caller: Caller;
  readonly stats: DataLoader<string, BotStats>;
}

const SCAN_COUNT = 1_000;
const withCache = process.env.BENCH_RESPONSE_CACHE !== 'off';
const tally = new Tally();
const { config, redis, readCaller, operations } = await createOpponent(tally, { cachesCallers: withCache });

const timeout = commandTimeoutMs();
const client = createClient({
  url: redisUrl(),
  disableOfflineQueue: true,
  socket: { connectTimeout: 1_000, reconnectStrategy: (retries: number) => Math.min(25 * 2 ** retries, 500) },
  ...(timeout === undefined ? {} : { commandOptions: { timeout } }),
});
client.on('error', () => {});
const keyv = new Keyv({ store: new KeyvRedis(client), emitErrors: false });
keyv.on('error', () => {});

/** Deletes every cached response that contains one of these; one scan of the keyspace. */
async function forget(...subjects: readonly string[]): Promise<void> {
  if (!withCache) return;
  const marks = subjects.map((subject) => `fqc:${subject}|`);
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', '*fqc:*', 'COUNT', SCAN_COUNT);
    const outdated = keys.filter((key) => marks.some((mark) => key.includes(mark)));
    if (outdated.length > 0) await redis.unlink(...outdated);
    cursor = next;
  } while (cursor !== '0');
}

/** Hashes keys as the plugin does. */
const hash = (text: string): string => createHash('sha256').update(text).digest('hex');

const countHits: ApolloServerPlugin<Context> = {
  async requestDidStart() {
    return {
      async willSendResponse({ metrics, operation }) {
        if (operation?.operation !== 'query') return;
        if (metrics.responseCacheHit === true) tally.onHit();
        else tally.onMiss();
      },
    };
  },
};

const server = new ApolloServer<Context>({
  typeDefs: withCache ? withCacheHints(SDL, config.cache.ttlSeconds) : SDL,
  resolvers: {
    DateTime,
    Query: {
      bots: async (_: unknown, args: BotsArgs, { caller }: Context) => await operations.page(caller, args),
      bot: async (_: unknown, { id }: { id: string }, { caller }: Context) =>
        await operations.bot(caller, id),
      botDetails: async (_: unknown, { id }: { id: string }, { caller }: Context) =>
        await operations.details(caller, id),
      botStats: async (_: unknown, { id }: { id: string }, { caller }: Context) =>
        await operations.statsOf(caller, id),
    },
    Bot: { stats: async (bot: Bot, _: unknown, { stats }: Context) => await stats.load(bot.id) },
    Mutation: {
      updateBot: async (_: unknown, args: { id: string; input: UpdateBotInput }, { caller }: Context) => {
        const bot = await operations.update(caller, args.id, args.input);
        await forget(bot.id, bot.orgId);
        return bot;
      },
      recordMessages: async (
        _: unknown,
        args: { botId: string; messages: MessageInput[] },
        { caller }: Context,
      ) => {
        const stats = await operations.record(caller, args.botId, args.messages);
        // A list page shows statistics too, and which page the bot is on is not known.
        await forget(stats.botId, ...caller.editable);
        return stats;
      },
    },
  },
  introspection: false,
  csrfPrevention: false,
  includeStacktraceInErrorResponses: false,
  stopOnTerminationSignals: false,
  plugins: withCache
    ? [
        ApolloServerPluginCacheControl({ calculateHttpHeaders: false }),
        responseCache<Context>({
          cache: new ErrorsAreMissesCache(new KeyvAdapter(keyv as never)),
          sessionId: async ({ contextValue }) => contextValue.caller.session,
          generateCacheKey: (context, keyData) => {
            const { id, orgId } = context.request.variables ?? {};
            return `${String(id ?? orgId)}|${hash(JSON.stringify(keyData))}`;
          },
        }),
        countHits,
      ]
    : [ApolloServerPluginCacheControlDisabled()],
});
await client.connect();
await server.start();
const app = Fastify();
app.route({
  method: ['GET', 'POST'],
  url: '/graphql',
  handler: createApolloHandler(server, async (request: FastifyRequest) => ({
    caller: await readCaller(request.headers.authorization),
    stats: new DataLoader<string, BotStats>(async (ids) => await operations.statsOfBots(ids)),
  })),
});
const origin = await app.listen({ port: config.http.port, host: config.http.host });
tally.announce(`${origin}/graphql`);
