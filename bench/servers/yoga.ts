import 'reflect-metadata';

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createRedisCache } from '@envelop/response-cache-redis';
import { useResponseCache, type Cache } from '@graphql-yoga/plugin-response-cache';
import DataLoader from 'dataloader';
import { createSchema, createYoga } from 'graphql-yoga';

import type { BotsArgs, UpdateBotInput } from '../../src/bots/bot.input.js';
import type { Bot } from '../../src/bots/bot.type.js';
import { DateTime } from '../../src/graphql/date-time.scalar.js';
import type { MessageInput } from '../../src/messages/message.input.js';
import type { BotDetails, BotStats } from '../../src/stats/bot-stats.type.js';
import type { Caller } from './callers.js';
import { createOpponent, SDL } from './opponent.js';
import { Tally } from './report.js';

/**
 * D: GraphQL Yoga with its response cache on Redis, with cached responses apart by the caller's organizations, our TTLs, and the
 * library's own invalidation by the ids that mutations return.
 */

interface Context {
  readonly caller: Caller;
  readonly stats: DataLoader<string, BotStats>;
}

const tally = new Tally();
const { config, redis, readCaller, operations } = await createOpponent(tally);

const stored = createRedisCache({ redis: redis as never });
const cache: Cache = {
  ...stored,
  async get(key) {
    const found = (await stored.get(key)) as Awaited<ReturnType<Cache['get']>>;
    if (found) tally.onHit();
    else tally.onMiss();
    return found;
  },
};

const callers = new WeakMap<Request, Promise<Caller>>();
function callerOf(request: Request): Promise<Caller> {
  const known = callers.get(request) ?? readCaller(request.headers.get('authorization') ?? undefined);
  callers.set(request, known);
  return known;
}

const ttl = config.cache.ttlSeconds;
const yoga = createYoga<object, Context>({
  schema: createSchema<Context>({
    typeDefs: SDL,
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
      // The response cache asks every type that has an id for it.
      BotDetails: { id: ({ bot }: BotDetails) => bot.id },
      BotStats: { id: ({ botId }: BotStats) => botId },
      Bot: { stats: async (bot: Bot, _: unknown, { stats }: Context) => await stats.load(bot.id) },
      Mutation: {
        updateBot: async (_: unknown, args: { id: string; input: UpdateBotInput }, { caller }: Context) =>
          await operations.update(caller, args.id, args.input),
        recordMessages: async (
          _: unknown,
          args: { botId: string; messages: MessageInput[] },
          { caller }: Context,
        ) => await operations.record(caller, args.botId, args.messages),
      },
    },
  }),
  context: async ({ request }) => ({
    caller: await callerOf(request),
    stats: new DataLoader<string, BotStats>(async (ids) => await operations.statsOfBots(ids)),
  }),
  plugins: [
    useResponseCache({
      cache,
      session: async (request) => (await callerOf(request)).session,
      invalidateViaMutation: true,
      // Statistics have no id of their own: they are known by their bot's.
      idFields: ['id', 'botId'],
      ttl: ttl.bot * 1_000,
      ttlPerSchemaCoordinate: {
        'Query.bots': ttl.botPage * 1_000,
        'Query.bot': ttl.bot * 1_000,
        'Query.botDetails': ttl.botDetails * 1_000,
        'Query.botStats': ttl.botStats * 1_000,
        'Bot.stats': ttl.botStats * 1_000,
      },
    }),
  ],
  logging: false,
  graphiql: false,
  landingPage: false,
});

const server = createServer((request, response) => void yoga(request, response));
server.listen(config.http.port, config.http.host, () => {
  const { port } = server.address() as AddressInfo;
  tally.announce(`http://127.0.0.1:${port}/graphql`);
});
