import type { GraphQLAnswer } from '../support/client.js';
import type { View } from './findings.js';
import { TERMS, type BotRecord, type History, type Item, type Term, type Window } from './history.js';

/** One query, and how its answer is added to the history. */
export interface Reading {
  readonly text: string;
  readonly variables: Readonly<Record<string, string | number>>;
  /** Adds the answer to the history. Returns the unexpected errors. */
  observe(answer: GraphQLAnswer<unknown>, history: History, window: Window): string[];
}

/** The fields that the queries below select. */
interface BotFields {
  readonly id: string;
  readonly version: number;
  readonly description: string;
  readonly stats?: StatsFields;
}
interface StatsFields {
  readonly totalMessages: number;
  readonly failedMessages: number;
}
interface DetailsFields {
  readonly bot: BotFields;
  readonly stats: StatsFields;
}
interface PageFields {
  readonly total: number;
  readonly items: readonly BotFields[];
}
interface OrganizationFields {
  readonly bots: readonly BotFields[];
}

type ListError = NonNullable<GraphQLAnswer<unknown>['errors']>[number];

const BOT = 'id version description';
const STATS = 'totalMessages failedMessages';

const quantities = ({ totalMessages, failedMessages }: StatsFields) => ({
  total: totalMessages,
  failed: failedMessages,
});

/** The description that a transaction writes into both bots of a pair. */
export const describePair = (marker: number): string => `pair ${marker}`;
const PAIR = /^pair (\d+)$/;

/** A bot as the checker sees it. */
export const itemOf = ({ id, version, description, stats }: BotFields): Item => {
  const marker = PAIR.exec(description)?.[1];
  return {
    id,
    version,
    ...(marker === undefined ? {} : { marker: Number(marker) }),
    ...(stats === undefined ? {} : quantities(stats)),
  };
};

/** The same for a bot in a list. A bot that has been deleted while its list was read has no figures any more. */
const itemOfList =
  (history: History, { from }: Window) =>
  (fields: BotFields): Item => {
    const { id, stats } = fields;
    const bot = history.bot(id);
    if (stats?.totalMessages !== 0 || !bot?.isBeingDeleted) return itemOf(fields);
    const { stats: _, ...rest } = fields;
    return { ...itemOf(rest), isGone: bot.total.minAt('answered', from) > 0 };
  };

/** Limit of aliases in one document. */
const MAX_ALIASES = 20;

/** Documents by their shape. They are reused, so that servers parse each text once. */
const texts = new Map<string, string>();
function textOf(shape: string, count: number, field: (alias: string) => string): string {
  const name = `${shape} ${count}`;
  let text = texts.get(name);
  if (text === undefined) {
    const aliases = Array.from({ length: count }, (_, i) => `a${i}`);
    text = `query(${aliases.map((alias) => `$${alias}: ID!`).join(' ')}) { ${aliases.map(field).join(' ')} }`;
    texts.set(name, text);
  }
  return text;
}

/** Reads single bots through one kind of key. */
function single<Fields>(
  view: View,
  field: (alias: string) => string,
  toItem: (fields: Fields, bot: BotRecord) => Item,
): (bots: readonly BotRecord[]) => Reading {
  return (bots) => {
    const asked = bots.slice(0, MAX_ALIASES);
    return {
      text: textOf(view, asked.length, field),
      variables: Object.fromEntries(asked.map((bot, i) => [`a${i}`, bot.id])),
      observe(answer, history, window) {
        const data = (answer.data ?? {}) as Readonly<Record<string, Fields | null>>;
        const codes = new Map(answer.errors?.map((error) => [String(error.path?.[0]), error]));
        const unexplained: string[] = [];
        asked.forEach((bot, i) => {
          const fields = data[`a${i}`];
          const error = codes.get(`a${i}`);
          codes.delete(`a${i}`);
          if (fields != null) history.observe(view, toItem(fields, bot), bot.orgId, window);
          else if (error?.extensions.code === 'NOT_FOUND') history.observeAbsence(view, bot, window);
          else unexplained.push(error ? describe(error) : `no answer for ${view}`);
        });
        return [...unexplained, ...[...codes.values()].map(describe)];
      },
    };
  };
}

/** `Query.bot`: key `bot:{id}`. */
export const readBots = single<BotFields>(
  'bot',
  (alias) => `${alias}: bot(id: $${alias}) { ${BOT} }`,
  itemOf,
);

/** `Query.botDetails`: key `bot:{id}:details`. */
export const readDetails = single<DetailsFields>(
  'details',
  (alias) => `${alias}: botDetails(id: $${alias}) { bot { ${BOT} } stats { ${STATS} } }`,
  ({ bot, stats }) => ({ ...itemOf(bot), ...quantities(stats) }),
);

/** `Query.botStats`: key `bot:{id}:stats`. */
export const readStats = single<StatsFields>(
  'stats',
  (alias) => `${alias}: botStats(id: $${alias}) { ${STATS} }`,
  (stats, { id }) => ({ id, ...quantities(stats) }),
);

/** `Query.bot` and `Query.botDetails` in one query. */
export const readBotAndDetails = (bot: BotRecord): Reading => ({
  text: `query($id: ID!) {
    bot(id: $id) { ${BOT} } details: botDetails(id: $id) { bot { ${BOT} } stats { ${STATS} } } }`,
  variables: { id: bot.id },
  observe(answer, history, window) {
    const data = (answer.data ?? {}) as { bot?: BotFields | null; details?: DetailsFields | null };
    const items = [data.bot && itemOf(data.bot), data.details && itemOf(data.details.bot)];
    for (const item of items) if (item) history.observe('moment', item, bot.orgId, window);
    return answer.errors?.map(describe) ?? [];
  },
});

interface MessagesFields {
  readonly nodes: readonly { readonly id: string }[];
  readonly pageInfo: { readonly hasNextPage: boolean };
}
const MESSAGES = '{ nodes { id } pageInfo { hasNextPage } }';

/** The number of messages; undefined if there are more than fit on the page. */
const counted = ({ nodes, pageInfo }: MessagesFields): number | undefined =>
  pageInfo.hasNextPage ? undefined : nodes.length;

/** `Bot.messages`, all of them and those that failed: keys `bot:{id}:messages:…`. */
export const readMessages = single<{ readonly all: MessagesFields; readonly failed: MessagesFields }>(
  'messages',
  (alias) => `${alias}: bot(id: $${alias}) {
    all: messages(first: 100) ${MESSAGES} failed: messages(first: 100, status: FAILED) ${MESSAGES} }`,
  ({ all, failed }, { id, isBeingDeleted }) => {
    const [total, failedTotal] = [counted(all), counted(failed)];
    // A bot that is deleted while it is read has no messages any more.
    if (isBeingDeleted && total === 0) return { id };
    return {
      id,
      ...(total === undefined ? {} : { total }),
      ...(failedTotal === undefined || (isBeingDeleted && failedTotal === 0) ? {} : { failed: failedTotal }),
    };
  },
);

/** `Organization.bots`: key `org:{orgId}:bots`. */
export const readOrganization = (orgId: string): Reading => ({
  text: `query($orgId: ID!) { organization(id: $orgId) { bots { ${BOT} } } }`,
  variables: { orgId },
  observe(answer, history, window) {
    const { organization } = (answer.data ?? {}) as { organization?: OrganizationFields | null };
    if (!organization) return answer.errors?.map(describe) ?? ['no organization'];
    history.observeList('org', orgId, organization.bots.map(itemOf), window, 'all');
    return answer.errors?.map(describe) ?? [];
  },
});

/** `Organization.stats`: key `org:{orgId}:stats`. */
export const readOrganizationStats = (orgId: string): Reading => ({
  text: `query($orgId: ID!) { organization(id: $orgId) { stats { bots ${STATS} } } }`,
  variables: { orgId },
  observe(answer, history, window) {
    const { organization } = (answer.data ?? {}) as {
      organization?: { readonly stats: StatsFields & { readonly bots: number } } | null;
    };
    if (!organization) return answer.errors?.map(describe) ?? ['no organization'];
    const { stats } = organization;
    history.observeOrganization(orgId, { bots: stats.bots, ...quantities(stats) }, window);
    return answer.errors?.map(describe) ?? [];
  },
});

const PART = 25;
const PAGES = [
  ...TERMS.map((term) => ({ alias: term, view: 'search' as const, part: term as Term | 'all' | 'part' })),
  { alias: 'whole', view: 'page' as const, part: 'all' as const },
  { alias: 'first', view: 'page' as const, part: 'part' as const },
  { alias: 'second', view: 'page' as const, part: 'part' as const },
];

const PAGES_TEXT = `query($orgId: ID!) {
  whole: bots(orgId: $orgId, limit: 100) { ...Page }
  first: bots(orgId: $orgId, limit: ${PART}) { ...Page }
  second: bots(orgId: $orgId, limit: ${PART}, page: 2) { ...Page }
  ${TERMS.map((term) => `${term}: bots(orgId: $orgId, limit: 100, search: "${term}") { ...Page }`).join('\n')}
}
fragment Page on BotPage { total items { ${BOT} } }`;

/** `Query.bots`: several pages at once, with and without a search; keys `bots:org:{orgId}:page:…`. */
export const readPages = (orgId: string): Reading => ({
  text: PAGES_TEXT,
  variables: { orgId },
  observe(answer, history, window) {
    const data = (answer.data ?? {}) as Readonly<Record<string, PageFields | null>>;
    const problems = answer.errors?.map(describe) ?? [];
    for (const { alias, view, part } of PAGES) {
      const page = data[alias];
      if (!page) continue;
      history.observeList(view, orgId, page.items.map(itemOf), window, part);
      if (part !== 'part' && page.total !== page.items.length) {
        problems.push(`a page of ${page.items.length} says that there are ${page.total} (${alias})`);
      }
    }
    return problems;
  },
});

/** `Bot.stats` on a page: keys `bots:org:{orgId}:page:…` and `bot:{id}:stats`. */
export const readPageWithStats = (orgId: string, page: number): Reading => ({
  text: `query($orgId: ID!, $page: Int!) {
    bots(orgId: $orgId, page: $page, limit: 40) { items { ${BOT} stats { ${STATS} } } } }`,
  variables: { orgId, page },
  observe(answer, history, window) {
    const { bots } = (answer.data ?? {}) as { bots?: PageFields | null };
    const items = (bots?.items ?? []).map(itemOfList(history, window));
    history.observeList('page stats', orgId, items, window, 'part');
    return answer.errors?.map(describe) ?? [];
  },
});

/** The number of bots that {@link readMoment} reads one by one. */
const MAX_SINGLE = 4;
const ALIASES = Array.from({ length: MAX_SINGLE }, (_, i) => String(i));
const MOMENT_TEXT = `query($orgId: ID!, ${ALIASES.map((i) => `$b${i}: ID!`).join(', ')}) {
  page: bots(orgId: $orgId, limit: 40) { items { ...Whole } }
  ${ALIASES.map((i) => `bot${i}: bot(id: $b${i}) { ...Whole organization { ...Sums } }`).join('\n')}
  ${ALIASES.map((i) => `details${i}: botDetails(id: $b${i}) { bot { ${BOT} } stats { ${STATS} } }`).join('\n')}
  ${ALIASES.map((i) => `stats${i}: botStats(id: $b${i}) { ${STATS} }`).join('\n')}
  organization(id: $orgId) { ...Sums bots { ...Whole } }
}
fragment Whole on Bot { ${BOT} stats { ${STATS} } }
fragment Sums on Organization { stats { bots ${STATS} } }`;

interface SumsFields {
  readonly stats: StatsFields & { readonly bots: number };
}
type MomentFields = {
  readonly page?: PageFields | null;
  readonly organization?: (OrganizationFields & SumsFields) | null;
} & Readonly<Record<`bot${number}`, (BotFields & { readonly organization: SumsFields }) | null>> &
  Readonly<Record<`details${number}`, DetailsFields | null>> &
  Readonly<Record<`stats${number}`, StatsFields | null>>;

/** As many bots as the query names; if there are fewer, some are read twice. */
const singles = (bots: readonly BotRecord[]): BotRecord[] =>
  ALIASES.map((i) => bots[Number(i) % bots.length] as BotRecord);

/** A page, single bots, their details and statistics, and their organization, at once: all must be of one moment. */
export const readMoment = (orgId: string, some: readonly BotRecord[]): Reading => ({
  text: MOMENT_TEXT,
  variables: { orgId, ...Object.fromEntries(singles(some).map(({ id }, i) => [`b${i}`, id])) },
  observe(answer, history, window) {
    const data = (answer.data ?? {}) as MomentFields;
    const ofList = itemOfList(history, window);
    const { page, organization } = data;
    if (page) history.observeList('moment', orgId, page.items.map(ofList), window, 'part');
    const unexplained = (answer.errors ?? []).filter(({ extensions }) => extensions.code !== 'NOT_FOUND');
    singles(some).forEach((bot, i) => {
      const [single, details, stats] = [data[`bot${i}`], data[`details${i}`], data[`stats${i}`]];
      const items = [
        single && ofList(single),
        details && { ...itemOf(details.bot), ...quantities(details.stats) },
        stats && { id: bot.id, ...quantities(stats) },
      ];
      for (const item of items) {
        if (item) history.observe('moment', item, orgId, window);
        else if (unexplained.length === 0) history.observeAbsence('moment', bot, window);
      }
      if (single) observeSums(single.organization);
    });
    if (organization) {
      observeSums(organization);
      const items = organization.bots.map(ofList);
      history.observeList('moment', orgId, items, window, 'all');
      if (!items.some(({ isGone }) => isGone !== undefined)) history.observeMembers(orgId, items, window);
    }
    return unexplained.map(describe);

    function observeSums({ stats }: SumsFields): void {
      history.observeOrganization(orgId, { bots: stats.bots, ...quantities(stats) }, window);
    }
  },
});

const describe = ({ extensions, message, path }: ListError): string =>
  `${extensions.code} ${message} at ${path?.join('.') ?? 'no path'}`;
