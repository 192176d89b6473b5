import { encodeKeyText } from '../cache/redis/keys.js';
import type { Resource } from '../cache/resource.js';
import type { ShapeOf } from '../cache/shape.js';
import type { Config } from '../config.js';
import { botStatsTag } from '../invalidation/tags.js';
import type { MessagePageContent } from './message-connection.type.js';
import type { MessagePageQuery, MessagePageRepository } from './message-page.repository.js';
import type { Message } from './message.type.js';

const MESSAGE_SHAPE: ShapeOf<Message> = {
  id: 'string',
  botId: 'string',
  conversationId: 'string',
  contactId: 'string',
  direction: 'string',
  status: 'string',
  text: 'string',
  responseTimeMs: 'number?',
  createdAt: 'string',
};

/** The parts of a key, where nothing is asked for with nothing. No filter is an empty text. */
const keyParts = ({ botId, first, after, conversationId, direction, status }: MessagePageQuery) => ({
  id: botId,
  first,
  after: after ? `${after.at}.${after.id}` : '',
  conversation: conversationId === null ? '' : encodeKeyText(conversationId),
  direction: direction ?? '',
  status: status ?? '',
});

/** Tells the queries of one request apart. */
export const messagePageKey = (query: MessagePageQuery): string => Object.values(keyParts(query)).join(':');

/** `bot:{id}:messages:first:…`. Every write of messages changes the totals, so pages depend on the same tag as they do. */
export const messagePageResource = (
  repository: MessagePageRepository,
  ttl: Config['cache']['ttlSeconds'],
): Resource<MessagePageQuery, MessagePageContent> => ({
  name: 'messages',
  key: (keys) => {
    const key = keys.template(
      'bot:{id}:messages:first:{first}:after:{after}:conversation:{conversation}:direction:{direction}:status:{status}',
    );
    return (query) => key(keyParts(query));
  },
  entityId: ({ botId }) => botId,
  dependsOn: [botStatsTag],
  indexed: 100,
  shape: {
    edges: [{ cursor: 'string', node: MESSAGE_SHAPE }],
    hasNextPage: 'boolean',
    hasPreviousPage: 'boolean',
  },
  ttlSeconds: ttl.list,
  load: async (queries) => await repository.findPages(queries),
});
