import { desc, eq, sql, type SQL } from 'drizzle-orm';

import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { toCount } from '../db/count.js';
import { botCounts, bots, organizations } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import { MAX_PAGE_LENGTH, type BotPageContent } from './bot-page.type.js';
import { botColumns, toBot, type BotRow } from './bot-row.js';
import { containsText, SEARCH_INDEXES, searchFor, type SearchIndex } from './bot-search.js';
import type { Bot } from './bot.type.js';

/** A page of an organization's bots: 1 is the first. An empty search finds all bots. */
export interface BotPageQuery {
  readonly orgId: string;
  readonly page: number;
  readonly limit: number;
  readonly search: string;
}

/** Whether the organization of a query exists. */
const organizationExists = (orgId: SQL): SQL<boolean> =>
  sql<boolean>`exists (select from ${organizations} where ${organizations.id} = ${orgId})`;
const newestFirst = [desc(bots.createdAt), desc(bots.id)];

const { placeholder } = sql;

/** A page of the bots that contain a text. */
const matchingPage = (index: SearchIndex): SQL => sql`(
  with matched as materialized (
    select ${bots.id}, ${bots.createdAt} from ${bots}
    where ${bots.orgId} = ${placeholder('orgId')} and ${containsText(index, placeholder('term'))}
  )
  select ${placeholder('position')}::int as position, (select count(*) from matched) as total, slice.id,
    ${organizationExists(sql`${placeholder('orgId')}`)} as org_exists
  from (select 1) as one left join (
    select id from matched order by created_at desc, id desc
    limit ${placeholder('limit')} offset ${placeholder('skipped')}
  ) as slice on true
)`;

const selectFound = (db: Database, index: SearchIndex) =>
  db
    .select({
      position: sql<number>`found.position`,
      snapshot: moment,
      exists: sql<boolean>`found.org_exists`,
      total: sql<number>`found.total`.mapWith(Number),
      bot: botColumns,
    })
    .from(sql`${matchingPage(index)} as found`)
    .leftJoin(bots, eq(bots.id, sql`found.id`))
    .orderBy(sql`found.position`, ...newestFirst)
    .prepare(`bots_search_${index}`);

/** How many bots precede a page. */
const offsetOf = ({ page, limit }: BotPageQuery): number => (page - 1) * limit;

/**
 * The rows of each position, in their order. Every position has at least one row; the row has no bot if there is
 * none.
 */
function grouped<Row extends { readonly position: number }>(
  rows: readonly Row[],
  count: number,
): [Row, ...Row[]][] {
  const groups: Row[][] = Array.from({ length: count }, () => []);
  for (const row of rows) groups[row.position]?.push(row);
  return groups.map(([first, ...others]) => {
    if (first === undefined) throw new Error('The database returned no row for a requested position');
    return [first, ...others];
  });
}

const botsOf = (rows: readonly { readonly bot: BotRow | null }[]): Bot[] =>
  rows.flatMap(({ bot }) => (bot ? [toBot(bot)] : []));

/** The SQL of lists of bots. It also returns their snapshot, for the cache. */
export class BotPageRepository {
  private readonly pages;
  /** One page of a search, by the index that finds its text. */
  private readonly searches;
  private readonly byOrganizations;

  constructor(db: Database) {
    // Each page is cut from the index alone, however deep it is; only its own rows are fetched. The maximum page
    // length is given separately from the wanted size, so that a plan for any pages expects no more rows than there
    // can be. The arrays are subqueries, so that their lengths change no estimate: one plan then serves all
    // executions.
    this.pages = db
      .select({
        position: sql<number>`wanted.position`,
        snapshot: moment,
        exists: organizationExists(sql`wanted.org_id`),
        total: sql<number>`coalesce(${botCounts.total}, 0)`.mapWith(Number),
        bot: botColumns,
      })
      .from(
        sql`unnest(
          (select ${sql.placeholder('positions')}::int[]), (select ${sql.placeholder('orgIds')}::uuid[]),
          (select ${sql.placeholder('sizes')}::int[]), (select ${sql.placeholder('offsets')}::bigint[])
        ) as wanted(position, org_id, size, skipped)`,
      )
      .leftJoin(botCounts, eq(botCounts.orgId, sql`wanted.org_id`))
      .leftJoin(
        sql`lateral (
          select id from (
            select ${bots.id} from ${bots} where ${bots.orgId} = wanted.org_id
            order by ${sql.join(newestFirst, sql`, `)} limit wanted.size offset wanted.skipped
          ) as cut limit ${sql.raw(String(MAX_PAGE_LENGTH))}
        ) as slice`,
        sql`true`,
      )
      .leftJoin(bots, eq(bots.id, sql`slice.id`))
      .orderBy(sql`wanted.position`, ...newestFirst)
      .prepare('bots_pages');

    this.searches = new Map(SEARCH_INDEXES.map((index) => [index, selectFound(db, index)] as const));

    // This has the name of the table, so that the columns of a bot are its columns.
    const newest = db
      .select()
      .from(bots)
      .where(eq(bots.orgId, wantedId))
      .orderBy(...newestFirst)
      .limit(sql.placeholder('limit'))
      .as('bots');
    this.byOrganizations = db
      .select({ snapshot: moment, position: wantedPosition, bot: botColumns })
      .from(wantedIds)
      .leftJoinLateral(newest, sql`true`)
      .orderBy(wantedPosition, ...newestFirst)
      .prepare('bots_by_organizations');
  }

  /**
   * Pages aligned with the queries, each with the number of all matching bots; null if there is no such organization.
   * The pages without a search are one statement. Each search is a statement of its own: together they could take as long
   * as no statement may, and would leave nothing to share with others.
   */
  async findPages(
    queries: readonly BotPageQuery[],
    since: SnapshotText,
  ): Promise<Snapshotted<BotPageContent>[]> {
    const wanted = queries.map((query, position) => ({ ...query, position }));
    const [listed, searched] = [
      wanted.filter(({ search }) => search === ''),
      wanted.filter(({ search }) => search !== ''),
    ];
    const rows = await Promise.all([
      listed.length === 0
        ? []
        : this.pages.execute({
            since,
            positions: listed.map(({ position }) => position),
            orgIds: listed.map(({ orgId }) => orgId),
            sizes: listed.map(({ limit }) => limit),
            offsets: listed.map(offsetOf),
          }),
      ...searched.map(async (query) => await this.search(query, since)),
    ]);
    return grouped(rows.flat(), queries.length).map((page) => ({
      snapshot: page[0].snapshot,
      value: page[0].exists ? { total: toCount(page[0].total), items: botsOf(page) } : null,
    }));
  }

  private async search(query: BotPageQuery & { readonly position: number }, since: SnapshotText) {
    const { position, orgId, limit } = query;
    const { index, term } = searchFor(query.search);
    const values = { position, orgId, limit, skipped: offsetOf(query), term, since };
    return (await this.searches.get(index)?.execute(values)) ?? [];
  }

  /** The newest `limit` bots of each organization, newest first, aligned with the ids, in one statement. */
  async findByOrganizations(
    orgIds: readonly string[],
    limit: number,
    since: SnapshotText,
  ): Promise<Snapshotted<readonly Bot[]>[]> {
    const rows = await this.byOrganizations.execute({ ids: orgIds, limit, since });
    // SQL counts positions from 1.
    const aligned = rows.map((row) => ({ ...row, position: row.position - 1 }));
    return grouped(aligned, orgIds.length).map((found) => ({
      snapshot: found[0].snapshot,
      value: botsOf(found),
    }));
  }
}
