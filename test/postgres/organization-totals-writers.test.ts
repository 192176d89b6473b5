import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import postgres from 'postgres';

import { eventually } from '../support/eventually.js';
import { countedTotals, storedTotals, wrongShards } from '../support/organization-totals.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

const WRITERS = 8;
const STATEMENTS_A_WRITER = 120;
const BOTS = 24;

let database: TestDatabase;
let writers: postgres.Sql;

beforeEach(async () => {
  database = await createDatabase();
  writers = postgres(database.url, { max: WRITERS, onnotice: () => {} });
});

afterEach(async () => {
  await writers?.end({ timeout: 1 });
  await database?.drop();
});

/** The actions of a writer, each one statement, as in the API. */
const STATEMENTS: readonly ((sql: postgres.Sql, bot: string, org: string) => Promise<unknown>)[] = [
  async (sql, bot) =>
    await sql`insert into messages (bot_id, conversation_id, contact_id, direction, status)
      values (${bot}, 'c', 'p', 'INBOUND', 'FAILED'), (${bot}, 'c', 'p', 'INBOUND', 'DELIVERED')`,
  async (sql, bot, org) =>
    await sql`insert into messages (bot_id, conversation_id, contact_id, direction, created_at)
      select id, 'many', 'p', 'INBOUND', now() + random() * interval '1 day' from bots
      where org_id = ${org} or id = ${bot} order by id`,
  async (sql, bot) =>
    await sql`delete from messages where id = (select id from messages where bot_id = ${bot} order by created_at desc limit 1)`,
  async (sql, bot) =>
    await sql`update messages set status = 'FAILED' where id = (select id from messages where bot_id = ${bot} limit 1)`,
  async (sql, bot) =>
    await sql`update bots set status = case status when 'RUNNING' then 'STOPPED' else 'RUNNING' end::bot_status where id = ${bot}`,
  async (sql, bot, org) => await sql`update bots set org_id = ${org} where id = ${bot}`,
  async (sql, _bot, org) =>
    await sql`insert into bots (org_id, name, status) values (${org}, 'new', 'RUNNING')`,
  async (sql, bot) => await sql`delete from bots where id = ${bot} and random() < 0.2`,
];

test('totals are right after concurrent writers of all kinds, without a deadlock', async () => {
  const { sql } = database;
  const orgs = [await addOrganization(sql), await addOrganization(sql, 'Globex')];
  const bots = (await Promise.all(orgs.map(async (org) => await addBots(sql, org, BOTS)))).flat();
  const failures: string[] = [];
  const pick = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T;
  await Promise.all(
    Array.from({ length: WRITERS }, async () => {
      for (let i = 0; i < STATEMENTS_A_WRITER; i++) {
        // PostgreSQL correctly refuses a message of a bot that was deleted meanwhile.
        await pick(STATEMENTS)(writers, pick(bots), pick(orgs)).catch(({ code }: { code?: string }) => {
          if (code !== '23503') failures.push(String(code));
        });
      }
    }),
  );
  expect(failures).toEqual([]);
  expect(await wrongShards(sql)).toEqual([]);
  expect(await storedTotals(sql)).toEqual(await countedTotals(sql));
}, 60_000);

test('a deletion of a bot waits for a change of its message without a deadlock', async () => {
  const { sql } = database;
  const [bot] = await addBots(sql, await addOrganization(sql), 1);
  const [message] = await sql<{ id: string }[]>`
    insert into messages (bot_id, conversation_id, contact_id, direction) values (${String(bot)}, 'c', 'p', 'INBOUND') returning id`;
  const change = await writers.reserve();
  await change`begin`;
  await change`select from messages where id = ${String(message?.id)} for update`;
  const deletion = writers`delete from bots where id = ${String(bot)}`.execute();
  await eventually(async () => {
    const waiting =
      await sql`select from pg_stat_activity where query like 'delete from bots%' and wait_event_type = 'Lock'`;
    return waiting.length === 1;
  });
  await change`update messages set status = 'FAILED' where id = ${String(message?.id)}`;
  await change`commit`;
  change.release();
  await deletion;
  expect(await storedTotals(sql)).toEqual(await countedTotals(sql));
});

test('a deletion of a bot waits for a creation in its organization without a deadlock', async () => {
  const { sql } = database;
  const org = await addOrganization(sql);
  const [bot] = await addBots(sql, org, 1);
  await sql`insert into messages (bot_id, conversation_id, contact_id, direction) values (${String(bot)}, 'c', 'p', 'INBOUND')`;
  const creation = await writers.reserve();
  await creation`begin`;
  await creation`insert into bots (org_id, name) values (${org}, 'first')`;
  const deletion = writers`delete from bots where id = ${String(bot)}`.execute();
  await eventually(async () => {
    const waiting =
      await sql`select from pg_stat_activity where query like 'delete from bots%' and wait_event_type = 'Lock'`;
    return waiting.length === 1;
  });
  // The totals of this bot are in the same shard as those of the deleted one.
  const sameShard = randomUUID().slice(0, -2) + String(bot).slice(-2);
  await creation`insert into bots (id, org_id, name, status) values (${sameShard}, ${org}, 'second', 'RUNNING')`;
  await creation`commit`;
  creation.release();
  await deletion;
  expect(await storedTotals(sql)).toEqual(await countedTotals(sql));
});

test('totals are right when they are recounted, deleted and truncated during writes', async () => {
  const { sql } = database;
  const org = await addOrganization(sql);
  const bots = await addBots(sql, org, BOTS);
  const repairs = [
    'select recount_organization_totals()',
    'delete from organization_totals',
    'truncate organization_totals',
    'select recount_bots()',
    `select recount_organization_totals(array['${org}']::uuid[])`,
  ];
  const work = { areDone: false };
  const writing = Promise.all(
    Array.from({ length: WRITERS }, async (_, n) => {
      for (let i = 0; i < STATEMENTS_A_WRITER; i++) {
        const bot = bots[(n * 7 + i * 5) % bots.length] as string;
        await writers`insert into messages (bot_id, conversation_id, contact_id, direction) values (${bot}, 'c', 'p', 'INBOUND')`;
        await writers`update bots set status = case status when 'RUNNING' then 'STOPPED' else 'RUNNING' end::bot_status where id = ${bot}`;
      }
    }),
  ).finally(() => {
    work.areDone = true;
  });
  const deadlocks: string[] = [];
  for (let i = 0; !work.areDone; i++) {
    const repair = repairs[i % repairs.length] as string;
    await sql.unsafe(repair).catch(({ code }: { code?: string }) => deadlocks.push(`${code} ${repair}`));
  }
  await writing;
  expect(deadlocks).toEqual([]);
  expect(await wrongShards(sql)).toEqual([]);
  expect(await storedTotals(sql)).toEqual(await countedTotals(sql));
}, 60_000);

test('a message changes the totals of its bot and its organization in place, without touching an index', async () => {
  const { sql } = database;
  const bots = await addBots(sql, await addOrganization(sql), BOTS);
  for (let i = 0; i < 2_000; i++) {
    const bot = bots[i % bots.length] as string;
    await writers`insert into messages (bot_id, conversation_id, contact_id, direction) values (${bot}, 'c', 'p', 'INBOUND')`;
  }
  // A session reports its statistics when it ends.
  await writers.end();
  await eventually(async () => {
    const rows = await sql<{ all: number; inPlace: number }[]>`
      select n_tup_upd::int as all, n_tup_hot_upd::int as "inPlace" from pg_stat_user_tables
      where relname in ('bot_stats', 'organization_totals')`;
    for (const { all, inPlace } of rows) {
      expect(all).toBeGreaterThan(1_900);
      // A change of an index would allow no HOT update at all; pages that could not be pruned in time prevent a few.
      expect(inPlace / all).toBeGreaterThan(0.5);
    }
    return true;
  });
}, 60_000);
