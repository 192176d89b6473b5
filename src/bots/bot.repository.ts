import { and, desc, eq, sql, type SQL } from 'drizzle-orm';

import type { Snapshotted } from '../cache/resource.js';
import type { Database } from '../db/client.js';
import { botCounts, bots } from '../db/tables.js';
import type { BotPageContent } from './bot-page.type.js';
import { BotStatus, type Bot } from './bot.type.js';

/** A row of `bots`. */
export type BotRow = typeof bots.$inferSelect;

export const botColumns = {
  id: bots.id,
  orgId: bots.orgId,
  name: bots.name,
  description: bots.description,
  status: bots.status,
  version: bots.version,
  createdAt: bots.createdAt,
  updatedAt: bots.updatedAt,
  startedAt: bots.startedAt,
};

/** A bot as clients see it, from its row. */
export const toBot = (row: BotRow): Bot => ({
  id: row.id,
  orgId: row.orgId,
  name: row.name,
  description: row.description,
  status: BotStatus[row.status],
  version: row.version,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
  startedAt: row.startedAt?.toISOString() ?? null,
});

/** Which page of an organization's bots: 1 is the first. An empty search is none. */
export interface BotPageQuery {
  readonly orgId: string;
  readonly page: number;
  readonly limit: number;
  readonly search: string;
}

const snapshot = sql<string>`pg_current_snapshot()::text`;
const newestFirst = [desc(bots.createdAt), desc(bots.id)];

/** A LIKE pattern that matches any text holding this one, whatever characters it has. */
const containing = (search: string): string => `%${search.replace(/[\\%_]/g, '\\$&')}%`;

/**
 * Which bots hold a text in their name or description, case folded. Both ways are right for any text; which one is taken
 * only decides which index finds them. Under the locale "C" trigrams know no letters but the ASCII ones, so that texts
 * without three of those in a row are found by the pairs of characters they are made of, and one or two characters by
 * themselves.
 */
function holding(search: string): SQL {
  // What is searched for stands in subqueries, so that the planner does not know it: knowing that nearly every row holds
  // it, it would rather look at all rows, or even compute the grams of all, than use the index.
  const [name, description] = [sql`search_fold(${bots.name})`, sql`search_fold(${bots.description})`];
  if (/[a-z0-9]{3}/.test(search.toLowerCase())) {
    const pattern = sql`(select search_fold(${containing(search)}))`;
    return sql`(${name} like ${pattern} or ${description} like ${pattern})`;
  }
  const text = sql`search_fold(${search})`;
  const grams = sql`(
    select case when char_length(text) <= 2 then array[text]
      else array(select substr(text, n, 2) from generate_series(1, char_length(text) - 1) as n) end
    from ${text} as text)`;
  // Not LIKE, lest the planner take the trigram index for it, which may have to read all of it.
  return sql`search_grams(${name}, ${description}) collate "C" @> ${grams} and (
    char_length(${text}) <= 2 or position(${text} in ${name}) > 0 or position(${text} in ${description}) > 0)`;
}

/** The SQL of bots. Reads for the cache also return the snapshot that they saw. */
export class BotRepository {
  private readonly byIds;
  private readonly page;
  private readonly allOfOrganization;
  private readonly setStatus;

  constructor(private readonly db: Database) {
    this.byIds = db
      .select({ snapshot, bot: botColumns })
      .from(sql`unnest(${sql.placeholder('ids')}::uuid[]) with ordinality as wanted(id, position)`)
      .leftJoin(bots, eq(bots.id, sql`wanted.id`))
      .orderBy(sql`wanted.position`)
      .prepare('bots_by_ids');

    // The page is cut in the index alone, however deep it lies; only its own rows are fetched.
    const slice = db
      .select({ id: bots.id })
      .from(bots)
      .where(eq(bots.orgId, sql.placeholder('orgId')))
      .orderBy(...newestFirst)
      .limit(sql.placeholder('limit'))
      .offset(sql.placeholder('offset'))
      .as('slice');
    const count = db.$with('organization_count').as(
      db
        .select({
          snapshot: snapshot.as('snapshot'),
          total: sql<number>`coalesce((
            select ${botCounts.total} from ${botCounts} where ${botCounts.orgId} = ${sql.placeholder('orgId')}
          ), 0)`
            .mapWith(Number)
            .as('total'),
        })
        .from(sql`(select 1) as one`),
    );
    this.page = db
      .with(count)
      .select({ snapshot: count.snapshot, total: count.total, bot: botColumns })
      .from(count)
      .leftJoin(slice, sql`true`)
      .leftJoin(bots, eq(bots.id, slice.id))
      .orderBy(...newestFirst)
      .prepare('bots_page');

    const newest = db
      .select({ id: bots.id })
      .from(bots)
      .where(eq(bots.orgId, sql.placeholder('orgId')))
      .orderBy(...newestFirst)
      .limit(sql.placeholder('most'))
      .as('newest');
    this.allOfOrganization = db
      .select({ snapshot, bot: botColumns })
      .from(sql`(select 1) as one`)
      .leftJoin(newest, sql`true`)
      .leftJoin(bots, eq(bots.id, newest.id))
      .orderBy(...newestFirst)
      .prepare('bots_of_organization');

    this.setStatus = db
      .update(bots)
      .set({ status: sql`${sql.placeholder('status')}::bot_status` })
      .where(
        and(
          eq(bots.id, sql.placeholder('id')),
          eq(bots.orgId, sql.placeholder('orgId')),
          sql`${bots.status} <> ${sql.placeholder('status')}::bot_status`,
        ),
      )
      .returning(botColumns)
      .prepare('bot_set_status');
  }

  /** Bots aligned with the ids, in one statement. */
  async findMany(ids: readonly string[]): Promise<Snapshotted<Bot>[]> {
    const rows = await this.byIds.execute({ ids });
    return rows.map(({ snapshot, bot }) => ({ snapshot, value: bot && toBot(bot) }));
  }

  /** One page and the number of all bots that match, in one statement. */
  async findPage(query: BotPageQuery): Promise<Snapshotted<BotPageContent>> {
    const rows =
      query.search === ''
        ? await this.page.execute({
            orgId: query.orgId,
            limit: query.limit,
            offset: (query.page - 1) * query.limit,
          })
        : await this.searchPage(query);
    return {
      snapshot: rows[0]?.snapshot ?? '',
      value: {
        total: rows[0]?.total ?? 0,
        items: rows.flatMap(({ bot }) => (bot ? [toBot(bot)] : [])),
      },
    };
  }

  /**
   * Not a prepared statement: the plan depends on the text, and a plan for any text would not use the trigrams.
   */
  private async searchPage({ orgId, page, limit, search }: BotPageQuery) {
    const matched = this.db.$with('matched').as(
      this.db
        .select({ id: bots.id, createdAt: bots.createdAt })
        .from(bots)
        .where(and(eq(bots.orgId, orgId), holding(search))),
    );
    const slice = this.db
      .select({ id: matched.id })
      .from(matched)
      .orderBy(desc(matched.createdAt), desc(matched.id))
      .limit(limit)
      .offset((page - 1) * limit)
      .as('slice');
    return await this.db
      .with(matched)
      .select({
        snapshot,
        total: sql<number>`(select count(*) from ${matched})`.mapWith(Number),
        bot: botColumns,
      })
      .from(sql`(select 1) as one`)
      .leftJoin(slice, sql`true`)
      .leftJoin(bots, eq(bots.id, slice.id))
      .orderBy(...newestFirst);
  }

  /** All bots of an organization, newest first, `most` at most. */
  async findAllOf(orgId: string, most: number): Promise<Snapshotted<readonly Bot[]>> {
    const rows = await this.allOfOrganization.execute({ orgId, most });
    return { snapshot: rows[0]?.snapshot ?? '', value: rows.flatMap(({ bot }) => (bot ? [toBot(bot)] : [])) };
  }

  async insert(values: { orgId: string; name: string; description: string }): Promise<Bot> {
    const [row] = await this.db.insert(bots).values(values).returning(botColumns);
    return toBot(row as BotRow);
  }

  /** The changed bot; undefined if it is not there, or not of the expected version. */
  async update(
    key: { id: string; orgId: string; expectedVersion?: number | undefined },
    changes: { name?: string; description?: string },
  ): Promise<Bot | undefined> {
    const [row] = await this.db
      .update(bots)
      .set(changes)
      .where(
        and(
          eq(bots.id, key.id),
          eq(bots.orgId, key.orgId),
          ...(key.expectedVersion === undefined ? [] : [eq(bots.version, key.expectedVersion)]),
        ),
      )
      .returning(botColumns);
    return row && toBot(row);
  }

  /** The changed bot; undefined if it is not there or has that status already. */
  async updateStatus(key: { id: string; orgId: string }, status: BotStatus): Promise<Bot | undefined> {
    const [row] = await this.setStatus.execute({ ...key, status });
    return row && toBot(row);
  }

  /** Deletes a bot with its messages and totals. Returns whether it was there. */
  async delete(key: { id: string; orgId: string }): Promise<boolean> {
    const rows = await this.db
      .delete(bots)
      .where(and(eq(bots.id, key.id), eq(bots.orgId, key.orgId)))
      .returning({ id: bots.id });
    return rows.length > 0;
  }

  /** A bot as it is in the database now, beside every cache. */
  async findCurrent(key: { id: string; orgId: string }): Promise<Bot | undefined> {
    const [row] = await this.db
      .select(botColumns)
      .from(bots)
      .where(and(eq(bots.id, key.id), eq(bots.orgId, key.orgId)));
    return row && toBot(row);
  }
}
