import { randomUUID } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm';

import type { Writer } from '../auth/authorization.js';
import { writerMayChange } from '../auth/write-condition.js';
import type { WritableBot } from '../bots/bot.repository.js';
import type { Database } from '../db/client.js';
import { bots, messages } from '../db/tables.js';
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

/** The SQL of messages. Triggers update the totals in the same transaction. */
export class MessageRepository {
  private readonly insertAll;
  private readonly setStatus;

  constructor(private readonly db: Database) {
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
        orgId: sql<string>`(select ${bots.orgId} from ${bots} where ${bots.id} = ${sql.placeholder('id')}::uuid)`,
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
      .returning({ orgId: sql<string>`locked.org_id`, message: messageColumns })
      .prepare('message_set_status');
  }

  /**
   * Inserts all messages or none, in one statement. Returns them in their order, and the bot's organization;
   * undefined if the bot is missing, or the writer may not change it.
   * @throws SQLSTATE 23503 if the bot is deleted meanwhile
   */
  async insert(
    bot: WritableBot,
    inputs: readonly MessageInput[],
  ): Promise<{ readonly orgId: string; readonly messages: readonly Message[] } | undefined> {
    // All messages get the same creation time, so their ids decide the order of the list: the last one first.
    const ids = inputs.map(() => randomUUID()).toSorted();
    const rows = await this.insertAll.execute({
      ...bot,
      ids,
      conversationIds: inputs.map((message) => message.conversationId),
      contactIds: inputs.map((message) => message.contactId),
      directions: inputs.map((message) => message.direction),
      statuses: inputs.map((message) => message.status),
      texts: inputs.map((message) => message.text),
      responseTimes: inputs.map((message) => message.responseTimeMs ?? null),
    });
    const [row] = rows;
    if (row === undefined) return undefined;
    const { createdAt, orgId } = row;
    const inserted = inputs.map((input, i) => ({
      id: ids[i] ?? '',
      botId: bot.id,
      conversationId: input.conversationId,
      contactId: input.contactId,
      direction: input.direction,
      status: input.status,
      text: input.text,
      responseTimeMs: input.responseTimeMs ?? null,
      createdAt,
    }));
    return { orgId, messages: inserted };
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
  ): Promise<{ readonly orgId: string; readonly message: Message } | undefined> {
    const [row] = await this.setStatus.execute({ ...which, status });
    return row && { orgId: row.orgId, message: toMessage(row.message) };
  }
}
