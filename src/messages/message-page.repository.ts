import { desc, eq, sql, type SQL } from 'drizzle-orm';

import type { Snapshotted } from '../cache/core/resource.js';
import type { SnapshotText } from '../cache/core/snapshot.js';
import { moment } from '../db/cache-moment.js';
import type { Database } from '../db/client.js';
import { messages } from '../db/tables.js';
import type { MessagePageContent } from './message-connection.type.js';
import { encodeCursor, type MessageCursor } from './message-cursor.js';
import { messageColumns, toMessage, type MessageRow } from './message.repository.js';
import { MessageDirection, MessageStatus } from './message.type.js';

/** The page of a bot's messages to read: how many, after which position, newest first. A null filters nothing. */
export interface MessagePageQuery {
  readonly botId: string;
  readonly first: number;
  readonly after: MessageCursor | null;
  readonly conversationId: string | null;
  readonly direction: MessageDirection | null;
  readonly status: MessageStatus | null;
}

/**
 * The form of a statement. Each form has an index that contains its messages in their order, so that a page reads
 * only its own rows, however many messages the bot has.
 */
interface Form {
  /** The index: of all messages, of those of some kinds, or of those of a conversation. */
  readonly by: 'bot' | 'kind' | 'conversation';
  readonly isAfter: boolean;
}

/** Every direction with every status. */
const KINDS = sql.raw(
  Object.values(MessageDirection)
    .flatMap((direction) =>
      Object.values(MessageStatus).map(
        (status) => `('${direction}'::message_direction, '${status}'::message_status)`,
      ),
    )
    .join(', '),
);

const inUtc = sql`(${messages.createdAt} at time zone 'UTC')`;
/**
 * The instant of a {@link MessageCursor}. PostgreSQL counts days, and the microseconds of a day, exactly; an era's it
 * does not.
 */
const instantOfCursor = sql<string>`case when isfinite(${messages.createdAt})
  then ((${inUtc}::date - date '2000-01-01') * 86400000000 + (extract(epoch from ${inUtc}::time) * 1000000)::bigint)::text
  else ${messages.createdAt}::text end`;
const afterAt = sql`case when asked.after_at like '%infinity' then asked.after_at::timestamptz
  else (timestamp '2000-01-01' + asked.after_at::bigint / 86400000000 * interval '1 day'
    + asked.after_at::bigint % 86400000000 * interval '1 microsecond') at time zone 'UTC' end`;

interface PageRow {
  readonly position: number;
  readonly snapshot: string;
  readonly hasPrevious: boolean;
  readonly at: string;
  readonly message: MessageRow | null;
}

const formOf = ({ after, conversationId, direction, status }: MessagePageQuery): Form => ({
  by: conversationId !== null ? 'conversation' : direction !== null || status !== null ? 'kind' : 'bot',
  isAfter: after !== null,
});

/** Reads pages of messages for the cache, with their snapshot. */
export class MessagePageRepository {
  private readonly statements = new Map<string, ReturnType<MessagePageRepository['prepare']>>();

  constructor(private readonly db: Database) {}

  /** Pages aligned with the queries, in one statement for all queries with the same form. A deleted bot has no page. */
  async findPages(
    queries: readonly MessagePageQuery[],
    since: SnapshotText,
  ): Promise<Snapshotted<MessagePageContent>[]> {
    const forms = new Map<string, { form: Form; positions: number[] }>();
    for (const [position, query] of queries.entries()) {
      const form = formOf(query);
      const name = nameOf(form);
      const known = forms.get(name);
      if (known) known.positions.push(position);
      else forms.set(name, { form, positions: [position] });
    }
    const found = await Promise.all(
      [...forms.values()].map(
        async ({ form, positions }) => await this.read(form, positions, queries, since),
      ),
    );
    const rows = queries.map((): PageRow[] => []);
    for (const row of found.flat()) rows[row.position]?.push(row);
    return queries.map(({ first }, position) => toPage(rows[position] ?? [], first));
  }

  private async read(
    form: Form,
    positions: readonly number[],
    queries: readonly MessagePageQuery[],
    since: SnapshotText,
  ): Promise<readonly PageRow[]> {
    const asked = positions.flatMap((position) => queries[position] ?? []);
    return await this.statementOf(form).execute({
      since,
      positions,
      botIds: asked.map(({ botId }) => botId),
      sizes: asked.map(({ first }) => first + 1),
      conversationIds: asked.map(({ conversationId }) => conversationId),
      directions: asked.map(({ direction }) => direction),
      statuses: asked.map(({ status }) => status),
      afterInstants: asked.map(({ after }) => after?.at ?? null),
      afterIds: asked.map(({ after }) => after?.id ?? null),
    });
  }

  private statementOf(form: Form) {
    const name = nameOf(form);
    let statement = this.statements.get(name);
    if (!statement) this.statements.set(name, (statement = this.prepare(form, name)));
    return statement;
  }

  /** Each page is cut from its index, by ids alone; then its own rows are fetched. */
  private prepare(form: Form, name: string) {
    // The arrays are subqueries, so that their lengths change no estimate: one plan then serves all executions.
    const wanted = sql`(
      select asked.position, asked.bot_id, asked.size, asked.conversation_id, asked.direction, asked.status,
        ${form.isAfter ? afterAt : sql`null::timestamptz`} as after_at, asked.after_id
      from unnest(
        (select ${sql.placeholder('positions')}::int[]), (select ${sql.placeholder('botIds')}::uuid[]),
        (select ${sql.placeholder('sizes')}::int[]), (select ${sql.placeholder('conversationIds')}::text[]),
        (select ${sql.placeholder('directions')}::text[]::message_direction[]),
        (select ${sql.placeholder('statuses')}::text[]::message_status[]),
        (select ${sql.placeholder('afterInstants')}::text[]), (select ${sql.placeholder('afterIds')}::uuid[])
      ) as asked(position, bot_id, size, conversation_id, direction, status, after_at, after_id)
    ) as wanted`;
    return this.db
      .select({
        position: sql<number>`wanted.position`,
        snapshot: moment,
        hasPrevious: sql<boolean>`previous.found`,
        at: instantOfCursor,
        message: messageColumns,
      })
      .from(wanted)
      .innerJoin(
        sql`lateral (select ${form.isAfter ? sql`exists (${slice(form, '>=', 1)})` : sql`false`} as found offset 0) as previous`,
        sql`true`,
      )
      .leftJoin(
        sql`lateral (${slice(form, form.isAfter ? '<' : undefined, 'wanted.size')}) as slice`,
        sql`true`,
      )
      .leftJoin(messages, eq(messages.id, sql`slice.id`))
      .orderBy(sql`wanted.position`, desc(messages.createdAt), desc(messages.id))
      .prepare(name);
  }
}

const nameOf = ({ by, isAfter }: Form): string => `messages_page_by_${by}${isAfter ? '_after' : ''}`;

/**
 * Selects the ids of a page. If the filter matches several kinds (a direction with a status), each kind is cut
 * separately and the pieces are merged, because an index has only the messages of one kind in the order of time.
 * @param compare how a message's position compares with the cursor's; undefined: any position
 */
function slice({ by }: Form, compare: '<' | '>=' | undefined, size: number | 'wanted.size'): SQL {
  const limit = sql.raw(String(size));
  const place = compare
    ? sql.raw(`and (m.created_at, m.id) ${compare} (wanted.after_at, wanted.after_id)`)
    : sql``;
  const order = sql.raw('order by created_at desc, id desc limit');
  if (by === 'bot') {
    return sql`select m.id from ${messages} as m where m.bot_id = wanted.bot_id ${place} ${order} ${limit}`;
  }
  const conversation = by === 'conversation' ? sql`and m.conversation_id = wanted.conversation_id` : sql``;
  return sql`
    select piece.id from (values ${KINDS}) as kind(direction, status), lateral (
      select m.id, m.created_at from ${messages} as m
      where m.bot_id = wanted.bot_id ${conversation} and m.direction = kind.direction and m.status = kind.status ${place}
      ${order} ${limit}
    ) as piece
    where (wanted.direction is null or kind.direction = wanted.direction)
      and (wanted.status is null or kind.status = wanted.status)
    ${order} ${limit}`;
}

function toPage(rows: readonly PageRow[], first: number): Snapshotted<MessagePageContent> {
  const [any] = rows;
  if (any === undefined) throw new Error('The database returned no row for a requested position');
  const edges = rows.flatMap(({ message, at }) =>
    message ? [{ cursor: encodeCursor({ at, id: message.id }), node: toMessage(message) }] : [],
  );
  return {
    snapshot: any.snapshot,
    value: {
      edges: edges.slice(0, first),
      hasNextPage: edges.length > first,
      hasPreviousPage: any.hasPrevious,
    },
  };
}
