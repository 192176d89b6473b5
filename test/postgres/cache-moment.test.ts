import { afterAll, beforeAll, expect, test } from '@jest/globals';

import { parseMoment } from '../../src/cache/core/moment.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(async () => {
  await database?.drop();
});

const momentSince = async (since: string | null): Promise<string> => {
  const [row] = await database.sql<{ moment: string }[]>`select (select cache_moment(${since})) as moment`;
  return row?.moment ?? '';
};
const now = async (): Promise<string> => await momentSince('');
const write = async (...tags: string[]): Promise<number> => {
  const [row] = await database.sql<{ xid: string }[]>`
    insert into cache_invalidations (tags) values (${tags}) returning xid::text`;
  return Number(row?.xid);
};

test.each(['', null])(
  'without an earlier moment it is the snapshot and the epoch alone: %p',
  async (since) => {
    const moment = await momentSince(since);
    expect(moment).toMatch(/^\d+:\d+:[\d,]*@[0-9a-f]{12}$/);
    expect(parseMoment(moment)).toEqual({ snapshot: moment, entries: undefined });
  },
);

test('nothing was written since: no entries, in the same snapshot or a later one', async () => {
  const since = await now();
  expect(parseMoment(await momentSince(since)).entries).toEqual([]);
  await database.sql`select pg_current_xact_id()`;
  expect(parseMoment(await momentSince(since)).entries).toEqual([]);
});

test('it has the entries that were committed since, and no others', async () => {
  await write('bot:before');
  const since = await now();
  const [first, second] = [
    await write('bot:1', 'org:1'),
    await write('it\'s "quoted", {braced} \\ and\nlong'),
  ];
  const { snapshot, entries } = parseMoment(await momentSince(since));
  expect(entries).toEqual([
    { xid: first, tags: ['bot:1', 'org:1'] },
    { xid: second, tags: ['it\'s "quoted", {braced} \\ and\nlong'] },
  ]);
  expect(parseMoment(await momentSince(snapshot)).entries).toEqual([]);
});

test('it has the entry of a transaction that was running then, once it has committed', async () => {
  const session = await database.sql.reserve();
  await session`begin`;
  const [row] = await session<{ xid: string }[]>`
    insert into cache_invalidations (tags) values ('{bot:late}') returning xid::text`;
  await write('bot:early');
  const since = await now();
  expect(parseMoment(await momentSince(since)).entries).toEqual([]);
  await session`commit`;
  session.release();
  expect(parseMoment(await momentSince(since)).entries).toEqual([
    { xid: Number(row?.xid), tags: ['bot:late'] },
  ]);
});

test.each([
  [
    '21 entries',
    async () => await Promise.all(Array.from({ length: 21 }, async (_, i) => await write(`bot:${i}`))),
  ],
  ['201 tags', async () => await write(...Array.from({ length: 201 }, (_, i) => `bot:${i}`))],
])('instead of %s it says that the log must be read', async (_, writeMany) => {
  const since = await now();
  await writeMany();
  expect(await momentSince(since)).toMatch(/@[0-9a-f]{12} \*$/);
});

test('it says so, too, if the earlier moment is of another epoch', async () => {
  const since = await now();
  expect(await momentSince(since.replace(/@.*/, '@000000000000'))).toMatch(/ \*$/);
});

test('its cost does not grow with the log', async () => {
  await database.sql.unsafe(`do $$ begin for n in 1..5000 loop
    insert into cache_invalidations (tags) values (array['bot:' || n]); commit; end loop; end $$`);
  await database.sql`analyze cache_invalidations`;
  const since = await now();
  await write('bot:last');
  const session = await database.sql.reserve();
  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    await session.unsafe(`set plan_cache_mode = ${mode}`);
    // The first executions make the plans.
    for (let i = 0; i < 6; i++) await session`select (select cache_moment(${since}))`;
    const rows = await session<
      { 'QUERY PLAN': [{ Plan: { 'Shared Hit Blocks': number; 'Shared Read Blocks': number } }] }[]
    >`
      explain (analyze, buffers, format json) select (select cache_moment(${since}))`;
    const plan = rows[0]?.['QUERY PLAN'][0].Plan;
    expect((plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)).toBeLessThan(30);
  }
  session.release();
});
