import { and, eq, sql } from 'drizzle-orm';

import type { Writer } from '../auth/authorization.js';
import { isWritersMembership, writerMayChange } from '../auth/write-condition.js';
import type { MomentText } from '../cache/core/moment.js';
import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment, momentOfWrite } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { bots, memberships } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import { botColumns, toBot } from './bot-row.js';
import type { Bot, BotStatus } from './bot.type.js';

/** A bot to be written. The statement itself checks whether the writer may. */
export interface WritableBot extends Writer {
  readonly id: string;
}

/** A bot as a statement has changed it. It may also show writes that others have just committed. */
export interface ChangedBot {
  readonly bot: Bot;
  readonly moment: MomentText;
}

/** The SQL of single bots. Reads for the cache also return their snapshot. */
export class BotRepository {
  private readonly byIds;
  private readonly change;
  private readonly setStatus;
  private readonly remove;
  private readonly create;

  constructor(db: Database) {
    this.byIds = db
      .select({ snapshot: moment, bot: botColumns })
      .from(wantedIds)
      .leftJoin(bots, eq(bots.id, wantedId))
      .orderBy(wantedPosition)
      .prepare('bots_by_ids');

    const editableBot = and(eq(bots.id, sql.placeholder('id')), writerMayChange(bots.orgId));
    this.change = db
      .update(bots)
      .set({
        name: sql`coalesce(${sql.placeholder('name')}, ${bots.name})`,
        description: sql`coalesce(${sql.placeholder('description')}, ${bots.description})`,
      })
      .where(
        and(
          editableBot,
          sql`${bots.version} = coalesce(${sql.placeholder('expectedVersion')}::int, ${bots.version})`,
        ),
      )
      .returning({ ...botColumns, moment: momentOfWrite })
      .prepare('bot_update');

    this.setStatus = db
      .update(bots)
      .set({ status: sql`${sql.placeholder('status')}::bot_status` })
      .where(and(editableBot, sql`${bots.status} <> ${sql.placeholder('status')}::bot_status`))
      .returning({ ...botColumns, moment: momentOfWrite })
      .prepare('bot_set_status');

    this.remove = db.delete(bots).where(editableBot).returning({ orgId: bots.orgId }).prepare('bot_delete');

    // All columns of the table, in their order; the values that a new bot does not give are repeated here.
    this.create = db
      .insert(bots)
      .select(
        sql`select gen_random_uuid(), ${memberships.orgId}, ${sql.placeholder('name')}::text,
            ${sql.placeholder('description')}::text, 'STOPPED'::bot_status, 1, now(), now(), null::timestamptz
          from ${memberships}
          where ${isWritersMembership} and ${memberships.orgId} = ${sql.placeholder('orgId')}`,
      )
      .returning(botColumns)
      .prepare('bot_create');
  }

  /** Bots aligned with the ids, in one statement. */
  async findMany(ids: readonly string[], since: SnapshotText = ''): Promise<Snapshotted<Bot>[]> {
    const rows = await this.byIds.execute({ ids, since });
    return rows.map(({ snapshot, bot }) => ({ snapshot, value: bot && toBot(bot) }));
  }

  /**
   * Returns the new bot; undefined if the writer may not change the organization.
   * @throws SQLSTATE 23503 if the organization is deleted meanwhile
   */
  async insert(
    values: Writer & { readonly orgId: string; readonly name: string; readonly description: string },
  ): Promise<Bot | undefined> {
    const [row] = await this.create.execute({ ...values });
    return row && toBot(row);
  }

  /**
   * Returns the changed bot, and the moment that it shows; undefined if it is missing, the writer may not change it, or
   * its version is another.
   */
  async update(
    which: WritableBot,
    changes: {
      name?: string | null | undefined;
      description?: string | null | undefined;
      expectedVersion?: number | null | undefined;
    },
    since: SnapshotText,
  ): Promise<ChangedBot | undefined> {
    const { name = null, description = null, expectedVersion = null } = changes;
    const [row] = await this.change.execute({ ...which, name, description, expectedVersion, since });
    return row && { bot: toBot(row), moment: row.moment };
  }

  /**
   * As {@link update}; undefined if the bot is missing, the writer may not change it, or it has that status already.
   */
  async updateStatus(
    which: WritableBot,
    status: BotStatus,
    since: SnapshotText,
  ): Promise<ChangedBot | undefined> {
    const [row] = await this.setStatus.execute({ ...which, status, since });
    return row && { bot: toBot(row), moment: row.moment };
  }

  /**
   * Deletes a bot with its messages and totals. Returns its organization; undefined if the writer may not delete it.
   */
  async delete(which: WritableBot): Promise<{ orgId: string } | undefined> {
    const [row] = await this.remove.execute({ ...which });
    return row;
  }
}
