import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type postgres from 'postgres';

import { MessagePageRepository, type MessagePageQuery } from '../../src/messages/message-page.repository.js';
import { MessageDirection, MessageStatus } from '../../src/messages/message.type.js';
import { addBots, addOrganization } from '../support/people.js';
import { connectRecording, explain, nodesOf } from '../support/query-plan.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** `PLAN_MESSAGES=10000000` runs the same test on more messages. */
const MESSAGES = Number(process.env.PLAN_MESSAGES ?? 40_000);
const BOTS = 20;
const SIZE = 20;
/** Enough for an index search for each of six kinds of messages, and for the rows of the page; far fewer than a scan reads. */
const MAX_BLOCKS_A_PAGE = 250;

/** A page reads little more than its own rows, for any number of messages and any filter. */
describe(`a page of some of ${MESSAGES} messages`, () => {
  let database: TestDatabase;
  let session: postgres.ReservedSql;
  let repository: MessagePageRepository;
  let statements: string[];
  let disconnect: () => Promise<void>;
  let botIds: string[];

  beforeAll(async () => {
    database = await createDatabase();
    const { sql } = database;
    session = await sql.reserve();
    botIds = await addBots(sql, await addOrganization(sql), BOTS);
    await sql`alter table messages disable trigger user`;
    // Half of them belong to one bot and one conversation; the rare kind is the oldest.
    await sql`
      insert into messages (bot_id, conversation_id, contact_id, direction, status, created_at)
      select (${botIds}::uuid[])[case when n % 2 = 0 then 1 else 1 + n / 2 % ${BOTS}::int end],
        case when n % 2 = 0 then 'endless' else 'c' || n / 100 end, 'p',
        (case when n % 4 = 0 and n > 4 then 'OUTBOUND' else 'INBOUND' end)::message_direction,
        (case when n <= 4 then 'FAILED' else 'DELIVERED' end)::message_status,
        timestamptz '2000-01-01' + n * interval '1 second'
      from generate_series(1, ${MESSAGES}::int) as n`;
    await sql`alter table messages enable trigger user`;
    await sql.unsafe('vacuum analyze messages');
    const connected = connectRecording(database.url);
    repository = new MessagePageRepository(connected.db);
    ({ statements, close: disconnect } = connected);
  }, 900_000);

  afterAll(async () => {
    session?.release();
    await disconnect?.();
    await database?.drop();
  });

  const textOf = (value: unknown): string =>
    Array.isArray(value)
      ? `'{${value.map((each) => (each === null ? 'null' : String(each))).join(',')}}'`
      : '';

  /** The plan of the statement that the repository sends, made for these parameters or for any. */
  async function explainPages(queries: readonly MessagePageQuery[], mode: 'custom' | 'generic') {
    statements.length = 0;
    await repository.findPages(queries, '');
    const [statement = ''] = statements;
    // In the order of the statement's parameters.
    const parameters = [
      queries.map((_, position) => position),
      queries.map(({ botId }) => botId),
      queries.map(({ first }) => first + 1),
      queries.map(({ conversationId }) => conversationId),
      queries.map(({ direction }) => direction),
      queries.map(({ status }) => status),
      queries.map(({ after }) => after?.at ?? null),
      queries.map(({ after }) => after?.id ?? null),
    ];
    const { plan, ms } = await explain(session, statement, ["''", ...parameters.map(textOf)], mode);
    return { plan, ms, blocks: plan['Shared Hit Blocks'] + plan['Shared Read Blocks'] };
  }

  const [{ INBOUND, OUTBOUND }, { FAILED, PENDING, DELIVERED }] = [MessageDirection, MessageStatus];
  const middle = { at: String((MESSAGES / 2) * 1_000_000), id: 'ffffffff-ffff-4fff-8fff-ffffffffffff' };
  const filters = [
    ['all', {}],
    ['a direction', { direction: OUTBOUND }],
    ['a status that is rare', { status: FAILED }],
    ['a status that none has', { status: PENDING }],
    ['a kind', { direction: INBOUND, status: DELIVERED }],
    ['a kind that is rare', { direction: INBOUND, status: FAILED }],
    ['a conversation', { conversationId: 'endless' }],
    ['a direction in a conversation', { conversationId: 'endless', direction: INBOUND }],
    ['a rare status in a conversation', { conversationId: 'endless', status: FAILED }],
    ['a kind in a conversation', { conversationId: 'endless', direction: OUTBOUND, status: DELIVERED }],
  ] as const;

  test.each(
    filters.flatMap(([what, filter]) => [
      [what, 'from the start', { ...filter, after: null }] as const,
      [what, 'from the middle', { ...filter, after: middle }] as const,
    ]),
  )('of %s, %s', async (what, where, filter) => {
    const pageOf = (botId: string): MessagePageQuery => ({
      first: SIZE,
      conversationId: null,
      direction: null,
      status: null,
      ...filter,
      botId,
    });
    for (const asked of [botIds.slice(0, 1), botIds]) {
      for (const mode of ['custom', 'generic'] as const) {
        const { plan, ms, blocks } = await explainPages(asked.map(pageOf), mode);
        if (process.env.PLAN_MESSAGES) {
          process.stderr.write(
            `${what}, ${where}, ${asked.length} bots, ${mode}: ${blocks} blocks, ${ms.toFixed(1)} ms\n`,
          );
        }
        const scans = nodesOf(plan).filter((node) => node['Relation Name'] === 'messages');
        expect(scans.map((node) => node['Node Type'])).not.toContain('Seq Scan');
        expect(blocks).toBeLessThan(MAX_BLOCKS_A_PAGE * asked.length);
      }
    }
  });
});
