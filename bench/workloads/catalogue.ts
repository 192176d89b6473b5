import type { StandardData } from '../data/standard.js';
import { graphqlRequest, type GraphQLRequest } from '../support/client.js';
import { DETAILS, LIST, SEARCH, SELECTIONS, STATS, UPDATE } from './documents.js';

/** A workload: the requests that every server gets under load. */
export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly requests: readonly GraphQLRequest[];
  /** Whether the cache is emptied first and each request sent once, so that every read is a miss. */
  readonly cold: boolean;
  /** Requests that no earlier round has sent, for workloads that must not repeat any. */
  readonly requestsOf?: (round: number) => readonly GraphQLRequest[];
  readonly updates?: { readonly requests: readonly GraphQLRequest[]; readonly part: number };
}

/** Bots that details, statistics and updates are about. */
const HOT_BOTS = 200;
const PAGES = 50;
const PAGE_LENGTH = 20;
const UPDATES = 2_000;
const UPDATED_PART = 0.05;

/** Asks for a list page of 20 bots with statistics. */
export const listRequest = (token: string, orgId: string, page: number): GraphQLRequest =>
  graphqlRequest(token, LIST, { orgId, page });
/** Asks for the details of a bot. */
export const detailsRequest = (token: string, id: string): GraphQLRequest =>
  graphqlRequest(token, DETAILS, { id });
/** Asks for the statistics of a bot. */
export const statsRequest = (token: string, id: string): GraphQLRequest =>
  graphqlRequest(token, STATS, { id });
/** Renames a bot. */
export const updateRequest = (token: string, id: string, name: string): GraphQLRequest =>
  graphqlRequest(token, UPDATE, { id, name });

/** The throughput workloads, the same requests in every run. */
export function workloads(data: StandardData, coldReads: number): readonly Workload[] {
  const { token, orgId } = data;
  const hot = data.botIds.slice(0, HOT_BOTS);
  const details = hot.map((id) => detailsRequest(token, id));
  const stats = hot.map((id) => statsRequest(token, id));
  return [
    {
      id: 'list',
      title: 'list page of 20 bots with statistics',
      requests: pages(token, orgId, PAGES),
      cold: false,
    },
    { id: 'details', title: 'details of a bot', requests: details, cold: false },
    { id: 'stats', title: 'statistics of a bot', requests: stats, cold: false },
    {
      id: 'selections',
      title: '20 differing selections of one page',
      requests: SELECTIONS.map((query) => graphqlRequest(token, query, { orgId })),
      cold: false,
    },
    {
      id: 'mix',
      title: 'details and statistics with 5 % updates',
      requests: [...details, ...stats],
      cold: false,
      updates: {
        requests: Array.from({ length: UPDATES }, (_, i) =>
          updateRequest(token, hot[(i * 7) % HOT_BOTS] as string, `Renamed ${i}`),
        ),
        part: UPDATED_PART,
      },
    },
    { id: 'cold', title: 'list page, every read a miss', requests: coldPages(data, coldReads), cold: true },
    {
      id: 'search',
      title: 'list page of a new search, every read a miss',
      requests: coldSearches(data, coldReads, 0),
      requestsOf: (round) => coldSearches(data, coldReads, round),
      cold: true,
    },
  ];
}

const pages = (token: string, orgId: string, count: number): GraphQLRequest[] =>
  Array.from({ length: count }, (_, i) => listRequest(token, orgId, i + 1));

/** Words that an eighth of {@link insertBots}' rows have in their names, each another eighth. */
const WORDS = ['support', 'sales', 'onboarding', 'billing', 'booking', 'returns', 'survey', 'careers'];

/** Pages of texts that no other round searches for, each of other bots. */
function coldSearches(data: StandardData, count: number, round: number): GraphQLRequest[] {
  const pagesEach = Math.floor(data.botsOfAColdOrganization / WORDS.length / PAGE_LENGTH);
  const most = data.cold.length * WORDS.length * pagesEach;
  if (count > most) throw new Error(`There are only ${most} pages of searches that nothing else reads.`);
  return Array.from({ length: count }, (_, i) => {
    const { token, orgId } = data.cold[i % data.cold.length] as StandardData['cold'][number];
    const n = Math.floor(i / data.cold.length);
    const page = Math.floor(n / WORDS.length) + 1;
    const search = inCapitals(WORDS[n % WORDS.length] ?? '', round);
    return graphqlRequest(token, SEARCH, { orgId, page, search });
  });
}

/** Writes letters as capitals where the number has a bit: the same search in other words. */
const inCapitals = (word: string, bits: number): string =>
  [...word].map((letter, i) => ((bits >> i) & 1 ? letter.toUpperCase() : letter)).join('');

/** Distinct pages of organizations that no other workload reads, each requested by its own user. */
function coldPages(data: StandardData, count: number): GraphQLRequest[] {
  const perOrganization = data.botsOfAColdOrganization / PAGE_LENGTH;
  const most = data.cold.length * perOrganization;
  if (count > most) throw new Error(`There are only ${most} pages that nothing else reads.`);
  return Array.from({ length: count }, (_, i) => {
    const { token, orgId } = data.cold[i % data.cold.length] as StandardData['cold'][number];
    return listRequest(token, orgId, Math.floor(i / data.cold.length) + 1);
  });
}
