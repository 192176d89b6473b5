/** The operations that are measured, as a front end would send them. */

const BOT_FIELDS = [
  'id',
  'orgId',
  'name',
  'description',
  'status',
  'version',
  'createdAt',
  'updatedAt',
  'startedAt',
];
const STATS_FIELDS = [
  'botId',
  'totalMessages',
  'inboundMessages',
  'outboundMessages',
  'failedMessages',
  'totalConversations',
  'averageResponseTimeMs',
  'successRate',
  'lastMessageAt',
  'computedAt',
];

const FRAGMENTS = `
fragment BotFields on Bot {
  ${BOT_FIELDS.join('\n  ')}
}

fragment StatsFields on BotStats {
  ${STATS_FIELDS.join('\n  ')}
}`;

const PAGE = `{
    total
    page
    hasNextPage
    items {
      ...BotFields
      stats {
        ...StatsFields
      }
    }
  }`;

export const LIST = `query List($orgId: ID!, $page: Int) {
  bots(orgId: $orgId, page: $page, limit: 20) ${PAGE}
}
${FRAGMENTS}`;

export const SEARCH = `query Search($orgId: ID!, $page: Int, $search: String) {
  bots(orgId: $orgId, page: $page, limit: 20, search: $search) ${PAGE}
}
${FRAGMENTS}`;

export const DETAILS = `query Details($id: ID!) {
  botDetails(id: $id) {
    bot {
      ...BotFields
    }
    stats {
      ...StatsFields
    }
  }
}
${FRAGMENTS}`;

export const STATS = `query Stats($id: ID!) {
  botStats(id: $id) {
    ${STATS_FIELDS.join('\n    ')}
  }
}`;

export const UPDATE = `mutation Update($id: ID!, $name: String!) {
  updateBot(id: $id, input: {name: $name}) {
    id
    version
  }
}`;

export const RECORD = `mutation Record($botId: ID!, $messages: [MessageInput!]!) {
  recordMessages(botId: $botId, messages: $messages) {
    botId
    totalMessages
  }
}`;

/** Twenty selections of the same page, each of other fields, half of them with statistics. */
export const SELECTIONS: readonly string[] = Array.from({ length: 20 }, (_, i) => {
  const bot = BOT_FIELDS.filter((_, place) => place === 0 || (place * 7 + i * 3) % 5 < 3);
  const stats = STATS_FIELDS.filter((_, place) => (place * 3 + i) % 4 < 2 && place < STATS_FIELDS.length - 1);
  const nested = i % 2 === 0 ? ` stats { ${stats.join(' ')} }` : '';
  return `query Selection${i}($orgId: ID!) { bots(orgId: $orgId, limit: 20) { total items { ${bot.join(' ')}${nested} } } }`;
});
