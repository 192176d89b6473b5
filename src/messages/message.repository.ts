import { randomUUID } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm';

import type { Writer } from '../auth/authorization.js';
import { writerMayChange } from '../auth/write-condition.js';
import type { WritableBot } from '../bots/bot.repository.js';
import type { Database } from '../db/client.js';
import { bots, idempotencyKeys, messages } from '../db/tables.js';
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
import type { MessageInput } from './message.input.js';
import { MessageDirection, MessageStatus, type Message } from './message.type.js';

export type MessageRow = typeof messages.$inferSelect;

export const messageColumns = {
  id: messages.id,
  botId: messages.botId,
  conversationId: messages.conversationId,
  contactId: messages.contactId,
  direction: messages.direction,
  status: messages.status,
  text: messages.text,
  responseTimeMs: messages.responseTimeMs,
  createdAt: messages.createdAt,
};

/** Turns a row into the message that clients see. */
export const toMessage = (row: MessageRow): Message => ({
  id: row.id,
  botId: row.botId,
  conversationId: row.conversationId,
  contactId: row.contactId,
  direction: MessageDirection[row.direction],
  status: MessageStatus[row.status],
  text: row.text,
  responseTimeMs: row.responseTimeMs,
  createdAt: row.createdAt,
});

/** Messages as a statement has inserted them. */
export interface InsertedMessages {
  readonly orgId: string;
  readonly messages: readonly Message[];
}

/** A message as a statement has changed it. */
export interface ChangedMessage {
  readonly orgId: string;
  readonly message: Message;
}

/** The SQL of messages. Triggers update the totals in the same transaction. */
export class MessageRepository {
  private readonly insertAll;
  private readonly setStatus;
  private readonly keptInsertion;
  private readonly keptStatus;

  constructor(private readonly db: Database) {
    const orgOfBot = sql<string>`(select ${bots.orgId} from ${bots} where ${bots.id} = ${sql.placeholder('id')}::uuid)`;
    this.insertAll = db
      .insert(messages)
      .select(
        sql`select m.id, ${bots.id}, m.conversation_id, m.contact_id, m.direction, m.status, m.text, m.response_time_ms, now()
          from ${bots}, unnest(
          ${sql.placeholder('ids')}::uuid[], ${sql.placeholder('conversationIds')}::text[], ${sql.placeholder('contactIds')}::text[],
          ${sql.placeholder('directions')}::text[]::message_direction[], ${sql.placeholder('statuses')}::text[]::message_status[],
          ${sql.placeholder('texts')}::text[], ${sql.placeholder('responseTimes')}::int[]
          ) as m(id, conversation_id, contact_id, direction, status, text, response_time_ms)
          where ${bots.id} = ${sql.placeholder('id')}::uuid and ${writerMayChange(bots.orgId)}`,
      )
      .returning({
        createdAt: messages.createdAt,
        orgId: orgOfBot,
        // Once for all rows. The messages themselves are in the repeated request.
        kept: sql`case when ${messages.id} = ${sql.placeholder('firstId')}::uuid then ${keepOutcome(
          orgOfBot,
          sql`jsonb_build_object('created_at', ${messages.createdAt}, 'ids', ${sql.placeholder('keptIds')}::text::jsonb)`,
        )} end`,
        audited: sql`case when ${messages.id} = ${sql.placeholder('firstId')}::uuid then ${auditWrite(
          orgOfBot,
          sql`${messages.botId} || ${sql.placeholder('ids')}::uuid[]`,
        )} end`,
      })
      .prepare('messages_insert');
    // Lock the bot before its message, as deleting a bot does: with the other order the two could wait for each
    // other.
    this.setStatus = db
      .update(messages)
      .set({ status: sql`${sql.placeholder('status')}::message_status` })
      .from(
        sql`(
          select ${bots.id}, ${bots.orgId} from ${bots}
          where ${bots.id} = (select ${messages.botId} from ${messages} where ${messages.id} = ${sql.placeholder('id')})
            and ${writerMayChange(bots.orgId)}
          for key share
        ) as locked`,
      )
      .where(and(eq(messages.id, sql.placeholder('id')), eq(messages.botId, sql`locked.id`)))
      .returning({
        orgId: sql<string>`locked.org_id`,
        message: messageColumns,
        kept: keepOutcome(sql`locked.org_id`, writtenRow(messages)),
        audited: auditWrite(sql`locked.org_id`, sql`array[${messages.botId}, ${messages.id}]`),
      })
      .prepare('message_set_status');

    this.keptInsertion = db
      .select({
        ...keptColumns,
        ...columnsOfKept({ createdAt: messages.createdAt }),
        ids: sql<readonly string[] | null>`${idempotencyKeys.outcome} -> 'ids'`,
      })
      .from(idempotencyKeys)
      .innerJoin(keptRow(messages), sql`true`)
      .where(isKept)
      .orderBy(otherRequestFirst)
      .limit(1)
      .prepare('messages_kept');
    this.keptStatus = db
      .select({ ...keptColumns, message: columnsOfKept(messageColumns) })
      .from(idempotencyKeys)
      .innerJoin(keptRow(messages), sql`true`)
      .where(isKept)
      .orderBy(otherRequestFirst)
      .limit(1)
      .prepare('message_kept');
  }

  /**
   * Inserts all messages or none, in one statement. Returns them in their order, and the bot's organization;
   * undefined if the bot is missing, or the writer may not change it.
   * @throws SQLSTATE 23503 if the bot is deleted meanwhile
   */
  async insert(
    bot: WritableBot,
    inputs: readonly MessageInput[],
    mark: WriteMark,
  ): Promise<InsertedMessages | undefined> {
    // All messages get the same creation time, so their ids decide the order of the list: the last one first.
    const ids = inputs.map(() => randomUUID()).toSorted();
    const rows = await this.insertAll.execute({
      ...bot,
      ...mark,
      ids,
      firstId: ids[0],
      keptIds: mark.key === null ? null : JSON.stringify(ids),
      conversationIds: inputs.map((message) => message.conversationId),
      contactIds: inputs.map((message) => message.contactId),
      directions: inputs.map((message) => message.direction),
      statuses: inputs.map((message) => message.status),
      texts: inputs.map((message) => message.text),
      responseTimes: inputs.map((message) => message.responseTimeMs ?? null),
    });
    const [row] = rows;
    if (row === undefined) return undefined;
    return { orgId: row.orgId, messages: messagesOf(bot.id, inputs, ids, row.createdAt) };
  }

  /** The messages that an earlier request with the same key has inserted. Its inputs were the same. */
  async findKeptInsertion(
    bot: WritableBot,
    inputs: readonly MessageInput[],
    mark: WriteMark,
  ): Promise<KeptOutcome<InsertedMessages> | undefined> {
    const [row] = await this.keptInsertion.execute({ ...mark, userId: bot.userId });
    if (!row) return undefined;
    const { fingerprint, orgId, ids, createdAt } = row;
    return {
      fingerprint,
      orgId,
      result: { orgId, messages: messagesOf(bot.id, inputs, ids ?? [], createdAt) },
    };
  }

  /** The bot of a message. */
  async findBot(id: string): Promise<{ id: string; orgId: string } | undefined> {
    const [row] = await this.db
      .select({ id: bots.id, orgId: bots.orgId })
      .from(messages)
      .innerJoin(bots, eq(bots.id, messages.botId))
      .where(eq(messages.id, id))
      .execute();
    return row;
  }

  /**
   * Returns the changed message and its bot's organization; undefined if it is missing, or the writer may not change
   * it.
   */
  async updateStatus(
    which: Writer & { readonly id: string },
    status: MessageStatus,
    mark: WriteMark,
  ): Promise<ChangedMessage | undefined> {
    const [row] = await this.setStatus.execute({ ...which, status, ...mark });
    return row && { orgId: row.orgId, message: toMessage(row.message) };
  }

  /** The message that an earlier request with the same key has changed, as it was then. */
  async findKeptStatus(userId: string, mark: WriteMark): Promise<KeptOutcome<ChangedMessage> | undefined> {
    const [row] = await this.keptStatus.execute({ userId, ...mark });
    if (!row) return undefined;
    const { fingerprint, orgId, message } = row;
    return { fingerprint, orgId, result: { orgId, message: toMessage(message) } };
  }
}

const messagesOf = (
  botId: string,
  inputs: readonly MessageInput[],
  ids: readonly string[],
  createdAt: string,
): Message[] =>
  inputs.map((input, i) => ({
    id: ids[i] ?? '',
    botId,
    conversationId: input.conversationId,
    contactId: input.contactId,
    direction: input.direction,
    status: input.status,
    text: input.text,
    responseTimeMs: input.responseTimeMs ?? null,
    createdAt,
  }));
