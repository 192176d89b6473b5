import { eq, sql } from 'drizzle-orm';

import type { Database } from '../db/client.js';
import { bots, messages } from '../db/tables.js';
import type { MessageInput } from './message.input.js';
import { MessageDirection, MessageStatus, type Message } from './message.type.js';

const columns = {
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

/** The SQL of messages. The totals follow by triggers, in the same transaction. */
export class MessageRepository {
  private readonly insertAll;
  private readonly setStatus;

  constructor(private readonly db: Database) {
    this.insertAll = db
      .insert(messages)
      .select(
        sql`select gen_random_uuid(), ${sql.placeholder('botId')}::uuid, m.*, now() from unnest(
          ${sql.placeholder('conversationIds')}::text[], ${sql.placeholder('contactIds')}::text[],
          ${sql.placeholder('directions')}::message_direction[], ${sql.placeholder('statuses')}::message_status[],
          ${sql.placeholder('texts')}::text[], ${sql.placeholder('responseTimes')}::int[]) as m`,
      )
      .prepare('messages_insert');
    this.setStatus = db
      .update(messages)
      .set({ status: sql`${sql.placeholder('status')}::message_status` })
      .where(eq(messages.id, sql.placeholder('id')))
      .returning(columns)
      .prepare('message_set_status');
  }

  /** Inserts all messages or none, in one statement. @throws SQLSTATE 23503 if the bot does not exist. */
  async insert(botId: string, inputs: readonly MessageInput[]): Promise<void> {
    await this.insertAll.execute({
      botId,
      conversationIds: inputs.map((message) => message.conversationId),
      contactIds: inputs.map((message) => message.contactId),
      directions: inputs.map((message) => message.direction),
      statuses: inputs.map((message) => message.status),
      texts: inputs.map((message) => message.text),
      responseTimes: inputs.map((message) => message.responseTimeMs ?? null),
    });
  }

  /** The bot of a message and the organization of that bot. */
  async findOwner(id: string): Promise<{ botId: string; orgId: string } | undefined> {
    const [row] = await this.db
      .select({ botId: messages.botId, orgId: bots.orgId })
      .from(messages)
      .innerJoin(bots, eq(bots.id, messages.botId))
      .where(eq(messages.id, id));
    return row;
  }

  /** The changed message; undefined if it is not there. */
  async updateStatus(id: string, status: MessageStatus): Promise<Message | undefined> {
    const [row] = await this.setStatus.execute({ id, status });
    return (
      row && {
        ...row,
        direction: MessageDirection[row.direction],
        status: MessageStatus[row.status],
        createdAt: row.createdAt.toISOString(),
      }
    );
  }
}
