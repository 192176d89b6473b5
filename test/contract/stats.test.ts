import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';

import {
  BotDetailsDocument,
  BotsWithStatsDocument,
  BotStatsDocument,
  RecordMessagesDocument,
  UpdateMessageStatusDocument,
  type MessageInput,
  type StatsFieldsFragment,
} from '../generated/graphql.js';
import { addBots } from '../support/people.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';

type Stats = Omit<StatsFieldsFragment, 'computedAt'>;

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

/** The statistics of bots, counted from all their messages. */
async function bruteForce(botIds: readonly string[]): Promise<Stats[]> {
  const rows = await fixture.database.sql<
    {
      bot_id: string;
      total: number;
      inbound: number;
      failed: number;
      conversations: number;
      times: number;
      time: number;
      delivered_outbound: number;
      failed_outbound: number;
      last: Date | null;
    }[]
  >`
    select wanted.id as bot_id,
      count(m.id)::int as total,
      count(*) filter (where direction = 'INBOUND')::int as inbound,
      count(*) filter (where status = 'FAILED')::int as failed,
      count(distinct conversation_id)::int as conversations,
      count(response_time_ms)::int as times,
      coalesce(sum(response_time_ms), 0)::float8 as time,
      count(*) filter (where direction = 'OUTBOUND' and status = 'DELIVERED')::int as delivered_outbound,
      count(*) filter (where direction = 'OUTBOUND' and status = 'FAILED')::int as failed_outbound,
      max(created_at) as last
    from unnest(${[...botIds]}::uuid[]) with ordinality as wanted(id, place)
    left join messages as m on m.bot_id = wanted.id group by wanted.id, place order by place`;
  return rows.map((row) => {
    const finished = row.delivered_outbound + row.failed_outbound;
    return {
      botId: row.bot_id,
      totalMessages: row.total,
      inboundMessages: row.inbound,
      outboundMessages: row.total - row.inbound,
      failedMessages: row.failed,
      totalConversations: row.conversations,
      averageResponseTimeMs: row.times === 0 ? null : row.time / row.times,
      successRate: finished === 0 ? null : row.delivered_outbound / finished,
      lastMessageAt: row.last?.toISOString() ?? null,
    };
  });
}

function figures({ computedAt: _, ...stats }: StatsFieldsFragment): Stats {
  return stats;
}

const statsOf = async (id: string): Promise<Stats> =>
  figures((await fixture.viewer.ask(BotStatsDocument, { id })).botStats as StatsFieldsFragment);

/** The statistics of bots, read through each field that has them. */
async function allAnswers(botIds: readonly string[]): Promise<Stats[][]> {
  const { bots } = await fixture.viewer.ask(BotsWithStatsDocument, { orgId: fixture.orgId, limit: 100 });
  return await Promise.all(
    botIds.map(async (id) => {
      const { botDetails } = await fixture.viewer.ask(BotDetailsDocument, { id });
      const listed = bots.items.find((bot) => bot.id === id);
      return [
        await statsOf(id),
        figures(botDetails?.stats as StatsFieldsFragment),
        // Bots that were added by SQL may take a moment to be listed.
        ...(listed ? [figures(listed.stats)] : []),
      ];
    }),
  );
}

/** The answered and the expected statistics; waits until they are equal or the limit has passed. */
async function compare(botIds: readonly string[]): Promise<{ answers: Stats[][]; expected: Stats[][] }> {
  const expected = (await bruteForce(botIds)).map((stats) => [stats, stats, stats]);
  // Writes by SQL may take a moment to become visible.
  const answers = await askUntil(
    async () => await allAnswers(botIds),
    (answer) => JSON.stringify(answer) === JSON.stringify(expected),
  );
  return { answers, expected };
}

const record = async (botId: string, messages: MessageInput[]) =>
  (await fixture.editor.ask(RecordMessagesDocument, { botId, messages })).recordMessages;

const messageIds = async (botIds: readonly string[]): Promise<string[]> => {
  const rows = await fixture.database.sql<{ id: string }[]>`
    select id from messages where bot_id = any(${[...botIds]}) order by created_at, id`;
  return rows.map(({ id }) => id);
};

const anyStatus = fc.constantFrom('PENDING' as const, 'DELIVERED' as const, 'FAILED' as const);
const anyConversation = fc.constantFrom('a', 'b', 'c', 'd');
const anyMessage: fc.Arbitrary<MessageInput> = fc
  .record({
    conversationId: anyConversation,
    contactId: fc.constant('contact'),
    direction: fc.constantFrom('INBOUND' as const, 'OUTBOUND' as const),
    status: anyStatus,
    text: fc.constant(''),
    responseTimeMs: fc.option(fc.integer({ min: 0, max: 2 ** 31 - 1 })),
  })
  .map((message) => ({
    ...message,
    responseTimeMs: message.direction === 'INBOUND' ? null : message.responseTimeMs,
  }));

/** One write; `bot`, `to` and `at` choose among the rows that exist then. */
const anyWrite = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('record' as const),
      bot: fc.nat(),
      messages: fc.array(anyMessage, { minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('status' as const), at: fc.nat(), status: anyStatus }),
  },
  fc.record({ kind: fc.constant('sql insert' as const), bot: fc.nat(), to: fc.nat(), status: anyStatus }),
  fc.record({
    kind: fc.constant('sql status' as const),
    at: fc.nat(),
    count: fc.integer({ min: 1, max: 5 }),
    status: anyStatus,
  }),
  fc.record({
    kind: fc.constant('sql delete' as const),
    at: fc.nat(),
    count: fc.integer({ min: 1, max: 5 }),
  }),
  fc.record({
    kind: fc.constant('sql move' as const),
    at: fc.nat(),
    to: fc.nat(),
    conversation: anyConversation,
  }),
  fc.record({ kind: fc.constant('sql swap' as const) }),
  fc.record({ kind: fc.constant('sql time' as const), at: fc.nat(), hours: fc.integer({ min: -5, max: 5 }) }),
  fc.record({ kind: fc.constant('sql clear' as const), bot: fc.nat() }),
  fc.record({ kind: fc.constant('sql rollback' as const), bot: fc.nat() }),
);

type Write = typeof anyWrite extends fc.Arbitrary<infer W> ? W : never;

const pick = <T>(from: readonly T[], at: number, count = 1): T[] =>
  from.length === 0 ? [] : Array.from({ length: count }, (_, i) => from[(at + i) % from.length] as T);

/** Makes a write. Reads right after a write through GraphQL must show it. */
async function perform(write: Write, botIds: readonly string[]): Promise<void> {
  const { sql } = fixture.database;
  const ids = await messageIds(botIds);
  const bot = (n: number) => botIds[n % botIds.length] as string;
  switch (write.kind) {
    case 'record': {
      const id = bot(write.bot);
      const answer = await record(id, write.messages);
      const [expected] = await bruteForce([id]);
      expect(figures(answer)).toEqual(expected);
      expect(await statsOf(id)).toEqual(expected);
      return;
    }
    case 'status': {
      const [id] = pick(ids, write.at);
      if (id === undefined) return;
      const { status } = write;
      const { updateMessageStatus } = await fixture.editor.ask(UpdateMessageStatusDocument, { id, status });
      expect(updateMessageStatus).toMatchObject({ id, status });
      const [expected] = await bruteForce([updateMessageStatus.botId]);
      expect(await statsOf(updateMessageStatus.botId)).toEqual(expected);
      return;
    }
    case 'sql insert':
      await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status, response_time_ms)
        values (${bot(write.bot)}, 'a', 'contact', 'OUTBOUND', ${write.status}, 3),
          (${bot(write.to)}, 'e', 'contact', 'INBOUND', ${write.status}, null),
          (${bot(write.bot)}, 'e', 'contact', 'OUTBOUND', ${write.status}, null)`;
      return;
    case 'sql status':
      await sql`update messages set status = ${write.status} where id = any(${pick(ids, write.at, write.count)})`;
      return;
    case 'sql delete':
      await sql`delete from messages where id = any(${pick(ids, write.at, write.count)})`;
      return;
    case 'sql move':
      await sql`update messages set bot_id = ${bot(write.to)}, conversation_id = ${write.conversation}
        where id = any(${pick(ids, write.at)})`;
      return;
    case 'sql swap':
      await sql`update messages set
          direction = case direction when 'INBOUND' then 'OUTBOUND' else 'INBOUND' end::message_direction,
          conversation_id = case conversation_id when 'a' then 'b' when 'b' then 'a' else conversation_id end,
          response_time_ms = case direction when 'INBOUND' then 11 end
        where bot_id = any(${[...botIds]})`;
      return;
    case 'sql time':
      await sql`update messages set created_at = created_at + ${write.hours} * interval '1 hour'
        where id = any(${pick(ids, write.at)})`;
      return;
    case 'sql clear':
      await sql`delete from messages where bot_id = ${bot(write.bot)}`;
      return;
    case 'sql rollback':
      await sql
        .begin(async (transaction) => {
          await transaction`insert into messages (bot_id, conversation_id, contact_id, direction)
            values (${bot(write.bot)}, 'never', 'contact', 'INBOUND')`;
          await transaction`delete from messages where bot_id = ${bot(write.bot)}`;
          throw new Error('rolled back on purpose');
        })
        .catch(() => undefined);
  }
}

test('statistics equal a count over the messages, whatever was written, through GraphQL or SQL', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyWrite, { minLength: 5, maxLength: 15 }), async (writes) => {
      const botIds = await addBots(fixture.database.sql, fixture.orgId, 3);
      // Listed, so that the lists' statistics are compared as well.
      await askUntil(
        async () =>
          (await fixture.viewer.ask(BotsWithStatsDocument, { orgId: fixture.orgId, limit: 100 })).bots.items,
        (items) => botIds.every((id) => items.some((bot) => bot.id === id)),
      );
      for (const write of writes) await perform(write, botIds);
      const { answers, expected } = await compare(botIds);
      expect(answers).toEqual(expected);
      await fixture.database.sql`delete from bots where id = any(${botIds})`;
    }),
    { numRuns: 12, endOnFailure: true },
  );
});

describe('concurrent writers', () => {
  const message = (n: number): MessageInput => ({
    conversationId: `conversation ${n % 7}`,
    contactId: 'contact',
    direction: n % 3 === 0 ? 'INBOUND' : 'OUTBOUND',
    status: (['PENDING', 'DELIVERED', 'FAILED'] as const)[n % 3] as 'PENDING',
    text: '',
    ...(n % 3 === 0 ? {} : { responseTimeMs: n }),
  });
  const messages = (count: number, from: number) =>
    Array.from({ length: count }, (_, n) => message(from + n));

  test.each([1, 4])('to %d bot(s), through GraphQL and SQL, leave exact statistics', async (bots) => {
    const { sql } = fixture.database;
    await sql`delete from bots where org_id = ${fixture.orgId}`;
    const botIds = await addBots(sql, fixture.orgId, bots);
    await askUntil(
      async () => (await fixture.viewer.ask(BotsWithStatsDocument, { orgId: fixture.orgId })).bots.items,
      (items) => items.length === bots,
    );
    for (const id of botIds) await record(id, messages(30, 0));
    const bot = (n: number) => botIds[n % bots] as string;
    const existing = await messageIds(botIds);

    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let turn = 0; turn < 6; turn++) {
        const n = writer * 6 + turn;
        await record(bot(n), messages(5, n));
        const id = existing[n % existing.length] as string;
        await fixture.editor.ask(UpdateMessageStatusDocument, {
          id,
          status: n % 2 === 0 ? 'FAILED' : 'DELIVERED',
        });
      }
    });
    // Statements on all bots, in either order, must not deadlock.
    const outsiders = Array.from({ length: 3 }, async (_, writer) => {
      for (let turn = 0; turn < 6; turn++) {
        const order = turn % 2 === 0 ? botIds : botIds.toReversed();
        await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
          select id, ${`outside ${turn}`}, 'contact', 'OUTBOUND', 'DELIVERED' from unnest(${order}::uuid[]) as id`;
        await sql`delete from messages where bot_id = any(${order})
          and conversation_id = ${`outside ${(turn + writer) % 6}`}`;
      }
    });
    const seen: Stats[] = [];
    const written = new AbortController();
    const reader = (async () => {
      while (!written.signal.aborted) seen.push(await statsOf(bot(seen.length)));
    })();
    await Promise.all([...writers, ...outsiders]).finally(() => written.abort());
    await reader;

    const sent = bots * 30 + 6 * 6 * 5;
    const [row] = await sql`select count(*)::int as count from messages
      where bot_id = any(${botIds}) and conversation_id like 'conversation%'`;
    expect(row?.count).toBe(sent);
    const { answers, expected } = await compare(botIds);
    expect(answers).toEqual(expected);
    // A read meanwhile may show any moment, but all its values must belong to the same one.
    for (const stats of seen) {
      expect(stats.inboundMessages + stats.outboundMessages).toBe(stats.totalMessages);
      expect(stats.totalMessages).toBeGreaterThanOrEqual(30);
    }
    expect(seen.length).toBeGreaterThan(0);
  });
});

test('the time of the last message is right when messages are recorded while the last ones are deleted', async () => {
  const { sql } = fixture.database;
  const botIds = await addBots(sql, fixture.orgId, 1);
  const [id] = botIds as [string];
  const message: MessageInput = {
    conversationId: 'a',
    contactId: 'contact',
    direction: 'INBOUND',
    status: 'DELIVERED',
    text: '',
  };
  for (let round = 0; round < 12; round++) {
    await Promise.all(
      [0, 1, 2].flatMap((place) => [
        record(id, [message, { ...message, conversationId: `${round}` }]),
        sql`delete from messages where id = (
          select id from messages where bot_id = ${id} order by created_at desc, id offset ${place} limit 1)`,
      ]),
    );
    const { answers, expected } = await compare(botIds);
    expect(answers).toEqual(expected);
  }
});

test('statistics stay right when many messages are deleted at once', async () => {
  const { sql } = fixture.database;
  const botIds = await addBots(sql, fixture.orgId, 2);
  const [remaining, emptied] = botIds as [string, string];
  const message: MessageInput = {
    conversationId: 'a',
    contactId: 'contact',
    direction: 'INBOUND',
    status: 'DELIVERED',
    text: '',
  };
  for (const id of botIds) await record(id, [message]);
  for (const write of [
    async () => await sql`delete from messages where bot_id = ${emptied}`,
    async () => await sql`truncate messages`,
    async () => await record(remaining, [message]),
  ]) {
    await write();
    const { answers, expected } = await compare(botIds);
    expect(answers).toEqual(expected);
  }
});
