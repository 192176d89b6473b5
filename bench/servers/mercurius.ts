import 'reflect-metadata';

import Fastify from 'fastify';
import mercurius from 'mercurius';
import mercuriusCache from 'mercurius-cache';

import type { Bot } from '../../src/bots/bot.type.js';
import type { BotsArgs, UpdateBotInput } from '../../src/bots/bot.input.js';
import { encodeKeyText } from '../../src/cache/core/keys.js';
import { DateTime } from '../../src/graphql/date-time.scalar.js';
import type { MessageInput } from '../../src/messages/message.input.js';
import type { BotStats } from '../../src/stats/bot-stats.type.js';
import type { Caller } from './callers.js';
import { createOpponent, SDL } from './opponent.js';
import { Tally } from './report.js';

/** B: fastify, mercurius with its compiler, and mercurius-cache on Redis with our TTLs and references. */

interface Context {
  readonly caller: Caller;
}

/** The arguments of a policy's function. */
interface Call<Args, Source = unknown> {
  readonly self: Source;
  readonly source: Source;
  readonly arg: Args;
  readonly args: Args;
  readonly ctx: Context;
}

const REFERENCES_TTL_SECONDS = 600;
const tally = new Tally();
const { config, redis, readCaller, operations } = await createOpponent(tally);
const app = Fastify();

await app.register(mercurius, {
  schema: SDL,
  jit: 1,
  context: async (request): Promise<Context> => ({ caller: await readCaller(request.headers.authorization) }),
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
    Mutation: {
      updateBot: async (_: unknown, args: { id: string; input: UpdateBotInput }, { caller }: Context) =>
        await operations.update(caller, args.id, args.input),
      recordMessages: async (
        _: unknown,
        args: { botId: string; messages: MessageInput[] },
        { caller }: Context,
      ) => await operations.record(caller, args.botId, args.messages),
    },
  } as never,
  loaders: {
    Bot: {
      stats: {
        loader: async (queries: readonly { obj: Bot }[]) =>
          await operations.statsOfBots(queries.map(({ obj }) => obj.id)),
        opts: { cache: false },
      },
    },
  },
});

const session = (ctx: Context): string => ctx.caller.session ?? '';
const byId = {
  key: ({ arg, ctx }: Call<{ id: string }>) => `${session(ctx)}:${arg.id}`,
  references: ({ arg }: Call<{ id: string }>) => [`bot:${arg.id}`],
};
const ttl = config.cache.ttlSeconds;

await app.register(mercuriusCache.default, {
  ttl: ttl.botStats,
  storage: {
    type: 'redis',
    options: { client: redis, invalidation: { invalidate: true, referencesTTL: REFERENCES_TTL_SECONDS } },
  },
  onHit: tally.onHit,
  onMiss: tally.onMiss,
  policy: {
    Query: {
      bots: {
        ttl: ttl.botPage,
        key: ({ arg, ctx }: Call<BotsArgs>) =>
          `${session(ctx)}:${arg.orgId}:${arg.page}:${arg.limit}:${encodeKeyText(arg.search ?? '')}`,
        references: ({ arg }: Call<BotsArgs>) => [`org:${arg.orgId}`],
      },
      bot: { ttl: ttl.bot, ...byId },
      botDetails: { ttl: ttl.botDetails, ...byId },
      botStats: { ttl: ttl.botStats, ...byId },
    },
    Bot: {
      // A caller who may read the bot may read its statistics.
      stats: {
        ttl: ttl.botStats,
        key: ({ self }: Call<unknown, Bot>) => self.id,
        references: ({ self }: Call<unknown, Bot>) => [`bot:${self.id}`],
      },
    },
    Mutation: {
      updateBot: {
        invalidate: (_: unknown, _args: unknown, _ctx: unknown, _info: unknown, bot: Bot) => [
          `bot:${bot.id}`,
          `org:${bot.orgId}`,
        ],
      },
      recordMessages: {
        invalidate: (_: unknown, _args: unknown, _ctx: unknown, _info: unknown, stats: BotStats) => [
          `bot:${stats.botId}`,
        ],
      },
    },
  },
});

const origin = await app.listen({ port: config.http.port, host: config.http.host });
tally.announce(`${origin}/graphql`);
