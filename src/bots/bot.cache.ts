import { encodeKeyText } from '../cache/redis/keys.js';
import type { Resource } from '../cache/resource.js';
import type { ShapeOf } from '../cache/shape.js';
import type { Config } from '../config.js';
import { botTag, orgTag } from '../invalidation/tags.js';
import type { BotPageContent } from './bot-page.type.js';
import type { BotPageQuery, BotRepository } from './bot.repository.js';
import type { Bot } from './bot.type.js';

/** The fields of a bot, as they are cached. */
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

type Ttls = Config['cache']['ttlSeconds'];

/** `Organization.bots` has no pages: an organization with more bots than this must be read through `bots`. */
export const MAX_BOTS_UNPAGED = 1_000;

/** `bot:{id}` */
export const botResource = (repository: BotRepository, ttl: Ttls): Resource<string, Bot> => ({
  name: 'bot',
  key: (keys) => {
    const key = keys.template('bot:{id}');
    return (id) => key({ id });
  },
  entityId: (id) => id,
  dependsOn: [botTag],
  shape: BOT_SHAPE,
  ttlSeconds: ttl.bot,
  load: async (ids) => await repository.findMany(ids),
});

/** `bots:org:{orgId}:page:{page}:limit:{limit}:search:{search}` */
export const botPageResource = (
  repository: BotRepository,
  ttl: Ttls,
): Resource<BotPageQuery, BotPageContent> => ({
  name: 'list',
  key: (keys) => {
    const key = keys.template('bots:org:{orgId}:page:{page}:limit:{limit}:search:{search}');
    return ({ orgId, page, limit, search }) => key({ orgId, page, limit, search: encodeKeyText(search) });
  },
  entityId: ({ orgId }) => orgId,
  dependsOn: [orgTag],
  indexed: 1_000,
  shape: { items: [BOT_SHAPE], total: 'number' },
  ttlSeconds: ttl.list,
  load: async (queries) => await repository.findPages(queries),
});

/** `org:{orgId}:bots` */
export const organizationBotsResource = (
  repository: BotRepository,
  ttl: Ttls,
): Resource<string, readonly Bot[]> => ({
  name: 'org',
  key: (keys) => {
    const key = keys.template('org:{orgId}:bots');
    return (orgId) => key({ orgId });
  },
  entityId: (orgId) => orgId,
  dependsOn: [orgTag],
  shape: [BOT_SHAPE],
  ttlSeconds: ttl.org,
  load: async (orgIds) => await repository.findAllOf(orgIds, MAX_BOTS_UNPAGED + 1),
});
