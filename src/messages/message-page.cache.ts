import { decodeKeyText, encodeKeyText } from '../cache/core/keys.js';
import { cached } from '../cache/core/resource.js';
import type { ShapeOf } from '../cache/core/shape.js';
import type { Ttls } from '../config.js';
import { botStatsTag } from '../invalidation/tags.js';
import type { MessagePageContent } from './message-connection.type.js';
import type { MessagePageQuery, MessagePageRepository } from './message-page.repository.js';
import { MessageDirection, MessageStatus, type Message } from './message.type.js';

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

/** The parts of a key. A missing filter is an empty text. */
const keyParts = ({ botId, first, after, conversationId, direction, status }: MessagePageQuery) => ({
  id: botId,
  first,
  after: after ? `${after.at}.${after.id}` : '',
  conversation: conversationId === null ? '' : encodeKeyText(conversationId),
  direction: direction ?? '',
  status: status ?? '',
});

/** The query of a key; undefined if the key has only a digest of its conversation. */
function queryOf(parts: Readonly<Record<string, string>>): MessagePageQuery | undefined {
  const { id: botId = '', first, after: cursor = '', conversation = '' } = parts;
  const conversationId = conversation === '' ? null : decodeKeyText(conversation);
  if (conversationId === undefined) return undefined;
  const [at = '', id = ''] = cursor.split('.');
  return {
    botId,
    first: Number(first),
    after: cursor === '' ? null : { at, id },
    conversationId,
    direction: valueIn(MessageDirection, parts.direction),
    status: valueIn(MessageStatus, parts.status),
  };
}

const valueIn = <Value extends string>(values: Readonly<Record<string, Value>>, text = ''): Value | null =>
  Object.values(values).find((value) => value === text) ?? null;

/** A key for the query within one request. */
export const messagePageKey = (query: MessagePageQuery): string => Object.values(keyParts(query)).join(':');

/** Every write of messages changes the bot's totals, so pages of messages depend on the same tag as the totals do. */
export const messagePageResources = (pages: MessagePageRepository, ttl: Ttls) => ({
  messagePage: cached<MessagePageContent, MessagePageQuery>({
    key: 'bot:{id}:messages:first:{first}:after:{after}:conversation:{conversation}:direction:{direction}:status:{status}',
    params: keyParts,
    idOf: queryOf,
    tags: [botStatsTag],
    maxKeys: 100,
    shape: {
      edges: [{ cursor: 'string', node: MESSAGE_SHAPE }],
      hasNextPage: 'boolean',
      hasPreviousPage: 'boolean',
    },
    privateFields: ['text'],
    ttlSeconds: ttl.messagePage,
    load: async (queries, since) => await pages.findPages(queries, since),
  }),
});

export type MessagePageResources = ReturnType<typeof messagePageResources>;
