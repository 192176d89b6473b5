import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import postgres from 'postgres';

import { countedTotals, storedTotals, wrongShards } from '../support/organization-totals.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

let database: TestDatabase;
let sql: postgres.Sql;
let orgId: string;
let otherOrgId: string;
let ids: string[];

beforeEach(async () => {
  database = await createDatabase();
  ({ sql } = database);
  orgId = await addOrganization(sql);
  otherOrgId = await addOrganization(sql, 'Globex');
  ids = await addBots(sql, orgId, 6);
  await addBots(sql, otherOrgId, 2);
  // In the same shard as the first bot, so that a lookup in the shard can find another bot.
  const neighbour = randomUUID().slice(0, -2) + (ids[0] as string).slice(-2);
  await sql`insert into bots (id, org_id, name, status) values (${neighbour}, ${orgId}, 'neighbour', 'RUNNING')`;
  ids.push(neighbour);
  await sql`
    insert into messages (bot_id, conversation_id, contact_id, direction, status, created_at)
    select b.id, 'c', 'p', 'OUTBOUND', (array['PENDING', 'DELIVERED', 'FAILED']::message_status[])[1 + n % 3],
      timestamptz '2026-01-01' + (n * 7 + place) * interval '1 hour'
    from (select id, row_number() over (order by id) as place from bots) as b cross join generate_series(1, 5) as n`;
});

afterEach(async () => {
  await database?.drop();
});

/** The errors in the totals. */
const mistakes = async () => {
  const [stored, counted] = [await storedTotals(sql), await countedTotals(sql)];
  const isRight = JSON.stringify(stored) === JSON.stringify(counted);
  return { shards: await wrongShards(sql), totals: isRight ? [] : { stored, counted } };
};
const NONE = { shards: [], totals: [] };

test('the totals are right for the rows of the fixture', async () => {
  expect(await mistakes()).toEqual(NONE);
  const [totals] = (await storedTotals(sql)).filter(({ org }) => org === orgId);
  expect(totals).toMatchObject({ bots: 7, running: 1, messages: 35 });
  expect(totals?.failed).toBeGreaterThan(0);
});

describe('the totals of an organization are right after', () => {
  const newestOf = (bots: string) =>
    `(select id from messages where bot_id in (${bots}) order by created_at desc limit 1)`;

  test.each<[string, (bot: string, org: string, other: string) => string]>([
    [
      'a bot is created running',
      (_, org) => `insert into bots (org_id, name, status) values ('${org}', 'b', 'RUNNING')`,
    ],
    ['all bots are started', () => `update bots set status = 'RUNNING'`],
    [
      'bots are started and stopped at once',
      () =>
        `update bots set status = (case status when 'RUNNING' then 'STOPPED' else 'RUNNING' end)::bot_status`,
    ],
    ['a bot is renamed', (bot) => `update bots set name = 'x' where id = '${bot}'`],
    ['a bot is deleted', (bot) => `delete from bots where id = '${bot}'`],
    ['bots are deleted', (_, org) => `delete from bots where org_id = '${org}'`],
    ['an organization is deleted', (_, org) => `delete from organizations where id = '${org}'`],
    [
      'a bot is moved',
      (bot, _, other) => `update bots set org_id = '${other}', status = 'RUNNING' where id = '${bot}'`,
    ],
    ['all bots are moved', (_b, _o, other) => `update bots set org_id = '${other}'`],
    [
      'a bot is moved to a new organization and gets a message in one transaction',
      (bot) => `
      insert into organizations (id, name, slug) values ('00000000-0000-4000-8000-000000000077', 'n', 'n');
      insert into messages (bot_id, conversation_id, contact_id, direction, status, created_at) values ('${bot}', 'c', 'p', 'INBOUND', 'FAILED', '2030-01-01');
      update bots set org_id = '00000000-0000-4000-8000-000000000077', status = 'RUNNING' where id = '${bot}'`,
    ],
    ['messages fail', () => `update messages set status = 'FAILED' where status = 'DELIVERED'`],
    ['messages are delivered', () => `update messages set status = 'DELIVERED'`],
    ['the newest message is deleted', (bot) => `delete from messages where id = ${newestOf(`'${bot}'`)}`],
    [
      'the newest message is dated back',
      (bot) => `update messages set created_at = '2000-01-01' where id = ${newestOf(`'${bot}'`)}`,
    ],
    [
      'messages are dated back and forth',
      () =>
        `update messages set created_at = created_at + ((extract(hour from created_at) - 12) * interval '9 days')`,
    ],
    [
      'messages have no finite date',
      () =>
        `update messages set created_at = case when status = 'FAILED' then 'infinity' else '-infinity' end::timestamptz`,
    ],
    [
      'a message moves to another bot',
      (bot, org) =>
        `update messages set bot_id = '${bot}' where bot_id in (select id from bots where org_id <> '${org}')`,
    ],
    ['all messages are deleted', () => `delete from messages`],
    ['bots with extreme totals', () => `update bot_stats set outbound = 9e18; select recount_bots()`],
    ['TRUNCATE of messages', () => `truncate messages`],
    ['TRUNCATE of bots', () => `truncate bots cascade`],
    ['TRUNCATE of bot_stats', () => `truncate bot_stats`],
    ['TRUNCATE of organization_totals', () => `truncate organization_totals`],
    ['TRUNCATE of both totals', () => `truncate bot_stats, organization_totals, bot_counts, conversations`],
    [
      'TRUNCATE of both totals in the other order',
      () => `truncate organization_totals, conversations, bot_stats`,
    ],
    ['DELETE of bot_stats', () => `delete from bot_stats`],
    ['DELETE of organization_totals', () => `delete from organization_totals`],
    [
      'DELETE of one shard',
      (bot) => `delete from organization_totals where shard = organization_shard('${bot}')`,
    ],
    [
      'a recount of totals that were spoiled',
      (_, org) => `
      update organization_totals set total_messages = 77, running_bots = -3, last_message_at = 'infinity';
      select recount_organization_totals(array['${org}']::uuid[]); select recount_organization_totals()`,
    ],
    [
      'a recount of spoiled bots',
      () => `update bot_stats set inbound = 77, failed = 5, last_message_at = now(); select recount_bots()`,
    ],
    [
      'totals of a bot that name no organization',
      (bot) => `
      alter table bot_stats disable trigger bot_stats_10_removed; delete from bot_stats where bot_id = '${bot}';
      alter table bot_stats enable trigger bot_stats_10_removed;
      insert into bot_stats (bot_id) values ('${bot}'); select recount_bots(array['${bot}']::uuid[])`,
    ],
  ])('%s', async (_what, statements) => {
    await sql.unsafe(statements(ids[0] as string, orgId, otherOrgId));
    expect(await mistakes()).toEqual(NONE);
    // Later writes are counted, too.
    await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status) select id, 'd', 'p', 'INBOUND', 'FAILED' from bots`;
    await sql`update bots set status = 'RUNNING'`;
    expect(await mistakes()).toEqual(NONE);
  });

  test('COPY', async () => {
    const rows = ids.map((id) => `${id}\tcopied\tp\tINBOUND\tFAILED\t2031-01-01\n`).join('');
    const copy =
      await sql`copy messages (bot_id, conversation_id, contact_id, direction, status, created_at) from stdin`.writable();
    await new Promise<void>((resolve, reject) => {
      copy.once('error', reject).once('finish', resolve).end(rows);
    });
    expect(await mistakes()).toEqual(NONE);
  });

  test('a change that is rolled back', async () => {
    const before = await storedTotals(sql);
    await sql
      .begin(async (tx) => {
        await tx`update bots set status = 'RUNNING'`;
        await tx`delete from messages`;
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    expect(await storedTotals(sql)).toEqual(before);
  });
});
