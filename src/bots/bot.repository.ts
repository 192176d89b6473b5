import { and, eq, sql } from 'drizzle-orm';

import type { Writer } from '../auth/authorization.js';
import { isWritersMembership, writerMayChange } from '../auth/write-condition.js';
import type { MomentText } from '../cache/core/moment.js';
import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment, momentOfWrite } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { bots, idempotencyKeys, memberships } from '../db/tables.js';
import { wantedId, wantedIds, wantedPosition } from '../db/wanted-ids.js';
import { auditWrite } from '../mutations/audit-write.js';
import type { WriteMark } from '../mutations/idempotency-key.js';
import {
  columnsOfKept,
  isKept,
  keepOutcome,
  keptColumns,
  keptRow,
  otherRequestFirst,
  writtenRow,
  type KeptOutcome,
} from '../mutations/kept-outcome.js';
import { botColumns, toBot } from './bot-row.js';
import type { Bot, BotStatus } from './bot.type.js';

/** A bot to be written. The statement itself checks whether the writer may. */
export interface WritableBot extends Writer {
  readonly id: string;
}

/** A bot as a statement has changed it. It may also show writes that others have just committed. */
export interface ChangedBot {
  readonly bot: Bot;
  /** Undefined for the outcome of an earlier request. */
  readonly moment: MomentText | undefined;
}

/** What is recorded beside a change of a bot, in its transaction. */
const recorded = {
  kept: keepOutcome(bots.orgId, writtenRow(bots)),
  audited: auditWrite(bots.orgId, sql`array[${bots.id}]`),
};

/** The SQL of single bots. Reads for the cache also return their snapshot. */
export class BotRepository {
  private readonly byIds;
  private readonly change;
  private readonly setStatus;
  private readonly remove;
  private readonly create;
  private readonly kept;
  private readonly keptDeletion;

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
      .returning({ ...botColumns, moment: momentOfWrite, ...recorded })
      .prepare('bot_update');

    this.setStatus = db
      .update(bots)
      .set({ status: sql`${sql.placeholder('status')}::bot_status` })
      .where(and(editableBot, sql`${bots.status} <> ${sql.placeholder('status')}::bot_status`))
      .returning({ ...botColumns, moment: momentOfWrite, ...recorded })
      .prepare('bot_set_status');

    this.remove = db
      .delete(bots)
      .where(editableBot)
      .returning({ orgId: bots.orgId, ...recorded, kept: keepOutcome(bots.orgId, sql`'{}'`) })
      .prepare('bot_delete');

    // All columns of the table, in their order; the values that a new bot does not give are repeated here.
    this.create = db
      .insert(bots)
      .select(
        sql`select gen_random_uuid(), ${memberships.orgId}, ${sql.placeholder('name')}::text,
            ${sql.placeholder('description')}::text, 'STOPPED'::bot_status, 1, now(), now(), null::timestamptz
          from ${memberships}
          where ${isWritersMembership} and ${memberships.orgId} = ${sql.placeholder('orgId')}`,
      )
      .returning({ ...botColumns, ...recorded })
      .prepare('bot_create');

    this.kept = db
      .select({ ...keptColumns, bot: columnsOfKept(botColumns) })
      .from(idempotencyKeys)
      .innerJoin(keptRow(bots), sql`true`)
      .where(isKept)
      .orderBy(otherRequestFirst)
      .limit(1)
      .prepare('bot_kept');
    this.keptDeletion = db
      .select(keptColumns)
      .from(idempotencyKeys)
      .where(isKept)
      .orderBy(otherRequestFirst)
      .limit(1)
      .prepare('bot_kept_deletion');
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
    mark: WriteMark,
  ): Promise<Bot | undefined> {
    const [row] = await this.create.execute({ ...values, ...mark });
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
    mark: WriteMark,
  ): Promise<ChangedBot | undefined> {
    const { name = null, description = null, expectedVersion = null } = changes;
    const [row] = await this.change.execute({ ...which, name, description, expectedVersion, since, ...mark });
    return row && { bot: toBot(row), moment: row.moment };
  }

  /**
   * As {@link update}; undefined if the bot is missing, the writer may not change it, or it has that status already.
   */
  async updateStatus(
    which: WritableBot,
    status: BotStatus,
    since: SnapshotText,
    mark: WriteMark,
  ): Promise<ChangedBot | undefined> {
    const [row] = await this.setStatus.execute({ ...which, status, since, ...mark });
    return row && { bot: toBot(row), moment: row.moment };
  }

  /**
   * Deletes a bot with its messages and totals. Returns its organization; undefined if the writer may not delete it.
   */
  async delete(which: WritableBot, mark: WriteMark): Promise<{ orgId: string } | undefined> {
    const [row] = await this.remove.execute({ ...which, ...mark });
    return row && { orgId: row.orgId };
  }

  /** The bot that an earlier request with the same key has written, as it was then. */
  async findKept(userId: string, mark: WriteMark): Promise<KeptOutcome<Bot> | undefined> {
    const [row] = await this.kept.execute({ userId, ...mark });
    return row && { fingerprint: row.fingerprint, orgId: row.orgId, result: toBot(row.bot) };
  }

  /** The same for a bot that was deleted: its organization. */
  async findKeptDeletion(
    userId: string,
    mark: WriteMark,
  ): Promise<KeptOutcome<{ orgId: string }> | undefined> {
    const [row] = await this.keptDeletion.execute({ userId, ...mark });
    return row && { ...row, result: { orgId: row.orgId } };
  }
}
