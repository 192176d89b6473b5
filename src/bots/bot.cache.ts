import { decodeKeyText, encodeKeyText } from '../cache/core/keys.js';
import { cached } from '../cache/core/resource.js';
import type { ShapeOf } from '../cache/core/shape.js';
import type { Ttls } from '../config.js';
import { botTag, orgTag } from '../invalidation/tags.js';
import type { BotPageContent } from './bot-page.type.js';
import type { BotPageQuery, BotPageRepository } from './bot-page.repository.js';
import type { BotRepository } from './bot.repository.js';
import type { Bot } from './bot.type.js';

export const BOT_SHAPE: ShapeOf<Bot> = {
  id: 'string',
  orgId: 'string',
  name: 'string',
  description: 'string',
  status: 'string',
  version: 'number',
  createdAt: 'string',
  updatedAt: 'string',
  startedAt: 'string?',
};

/** `Organization.bots` has no pages: an organization with more bots than this must be read through `bots`. */
export const MAX_BOTS_UNPAGED = 1_000;

export const botResources = (bots: BotRepository, pages: BotPageRepository, ttl: Ttls) => ({
  bot: cached<Bot>({
    key: 'bot:{id}',
    tags: [botTag],
    shape: BOT_SHAPE,
    ttlSeconds: ttl.bot,
    load: async (ids, since) => await bots.findMany(ids, since),
  }),
  botPage: cached<BotPageContent, BotPageQuery>({
    key: 'bots:org:{orgId}:page:{page}:limit:{limit}:search:{search}',
    params: ({ search, ...query }) => ({ ...query, search: encodeKeyText(search) }),
    idOf: ({ orgId = '', page, limit, search: encoded = '' }) => {
      const search = decodeKeyText(encoded);
      return search === undefined ? undefined : { orgId, page: Number(page), limit: Number(limit), search };
    },
    tags: [orgTag],
    maxKeys: 1_000,
    seldomReadAgain: ({ search }) => search !== '',
    shape: { items: [BOT_SHAPE], total: 'number' },
    ttlSeconds: ttl.botPage,
    load: async (queries, since) => await pages.findPages(queries, since),
  }),
  organizationBots: cached<readonly Bot[]>({
    key: 'org:{orgId}:bots',
    tags: [orgTag],
    shape: [BOT_SHAPE],
    ttlSeconds: ttl.organizationBots,
    load: async (orgIds, since) => await pages.findByOrganizations(orgIds, MAX_BOTS_UNPAGED + 1, since),
  }),
});

export type BotResources = ReturnType<typeof botResources>;
