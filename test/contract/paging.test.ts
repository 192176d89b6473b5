import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { BotsDocument, CreateBotDocument, OrganizationBotsDocument } from '../generated/graphql.js';
import { addOrganization, addUser } from '../support/people.js';
import { createFixture, askUntil, type Fixture } from './fixture.js';

let fixture: Fixture;

beforeAll(async () => {
  fixture = await createFixture();
});

afterAll(async () => {
  await fixture?.close();
});

/** Replaces the bots of the fixture's organization. Returns them in the expected order. */
async function setBots(bots: readonly { name: string; createdAt: string }[]): Promise<string[]> {
  const { sql } = fixture.database;
  await sql`delete from bots where org_id = ${fixture.orgId}`;
  await sql`
    insert into bots (org_id, name, created_at)
    select ${fixture.orgId}, name, created_at::timestamptz
    from unnest(${bots.map(({ name }) => name)}::text[], ${bots.map(({ createdAt }) => createdAt)}::text[])
      as b(name, created_at)`;
  const rows = await sql<{ id: string }[]>`
    select id from bots where org_id = ${fixture.orgId} order by created_at desc, id desc`;
  const ids = rows.map(({ id }) => id);
  await askUntil(
    async () => (await pageOf({ limit: 100 })).items.map(({ id }) => id),
    (listed) => JSON.stringify(listed) === JSON.stringify(ids.slice(0, 100)),
  );
  return ids;
}

async function pageOf(args: { page?: number; limit?: number; search?: string }, orgId = fixture.orgId) {
  return (await fixture.viewer.ask(BotsDocument, { orgId, ...args })).bots;
}

/** Reads all pages until one has no next page. */
async function allPages(args: { limit: number; search?: string }) {
  const pages = [];
  for (let page = 1; ; page++) {
    const answer = await pageOf({ ...args, page });
    pages.push(answer);
    if (!answer.hasNextPage) return pages;
  }
}

const minute = (n: number) => new Date(Date.UTC(2026, 0, 1, 0, n)).toISOString();
const numbered = (count: number) =>
  Array.from({ length: count }, (_, n) => ({ name: `bot ${n}`, createdAt: minute(n) }));

describe('23 bots', () => {
  let ids: string[];

  beforeAll(async () => {
    ids = await setBots(numbered(23));
  });

  test('are listed newest first, 20 to a page, unless asked otherwise', async () => {
    const { items, ...rest } = await pageOf({});
    expect(rest).toEqual({ total: 23, page: 1, limit: 20, totalPages: 2, hasNextPage: true });
    expect(items.map(({ name }) => name)).toEqual(Array.from({ length: 20 }, (_, n) => `bot ${22 - n}`));
    expect(items[0]?.createdAt).toBe(minute(22));
  });

  test.each([1, 5, 7, 22, 23, 24, 100])('are listed completely and once by pages of %d', async (limit) => {
    const pages = await allPages({ limit });
    expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(ids);
    const totalPages = Math.ceil(23 / limit);
    expect(pages).toHaveLength(totalPages);
    for (const [i, { items: _, ...rest }] of pages.entries()) {
      expect(rest).toEqual({ total: 23, page: i + 1, limit, totalPages, hasNextPage: i + 1 < totalPages });
    }
  });

  test.each([4, 5, 1_000_000])(
    'a page beyond the end (%d) is empty, and says how many there are',
    async (page) => {
      expect(await pageOf({ page, limit: 10 })).toEqual({
        items: [],
        total: 23,
        page,
        limit: 10,
        totalPages: 3,
        hasNextPage: false,
      });
    },
  );

  test('are counted by the matches of a search, if there is one', async () => {
    // bot 2, bot 12, bot 20, bot 21, bot 22
    const pages = await allPages({ limit: 2, search: '2' });
    expect(pages.map(({ items }) => items.map(({ name }) => name))).toEqual([
      ['bot 22', 'bot 21'],
      ['bot 20', 'bot 12'],
      ['bot 2'],
    ]);
    for (const [i, { items: _, ...rest }] of pages.entries()) {
      expect(rest).toEqual({ total: 5, page: i + 1, limit: 2, totalPages: 3, hasNextPage: i < 2 });
    }
    expect(await pageOf({ page: 4, limit: 2, search: '2' })).toMatchObject({
      items: [],
      total: 5,
      totalPages: 3,
    });
    expect(await pageOf({ search: 'nothing like it' })).toEqual({
      items: [],
      total: 0,
      page: 1,
      limit: 20,
      totalPages: 0,
      hasNextPage: false,
    });
  });

  test('are listed in the same order by the organization', async () => {
    const { organization } = await fixture.viewer.ask(OrganizationBotsDocument, { id: fixture.orgId });
    expect(organization?.bots.map(({ id }) => id)).toEqual(ids);
  });
});

describe('bots that were created at one instant', () => {
  test.each([
    ['without a search', {}],
    ['with a search', { search: 'BOT' }],
  ])('keep their order from page to page, %s: the greater id first', async (_what, search) => {
    const ids = await setBots(Array.from({ length: 30 }, () => ({ name: 'bot', createdAt: minute(0) })));
    expect(ids).toEqual(ids.toSorted().toReversed());
    const pages = await allPages({ limit: 4, ...search });
    expect(pages.flatMap(({ items }) => items.map(({ id }) => id))).toEqual(ids);
  });

  test('to the millisecond are told apart by the microsecond', async () => {
    const at = (micros: number) => `2026-01-01T00:00:00.123${String(micros).padStart(3, '0')}Z`;
    await setBots([7, 3, 9, 1].map((micros) => ({ name: `bot ${micros}`, createdAt: at(micros) })));
    const names = (await pageOf({})).items.map(({ name }) => name);
    expect(names).toEqual(['bot 9', 'bot 7', 'bot 3', 'bot 1']);
    expect((await pageOf({ search: 'bot' })).items.map(({ name }) => name)).toEqual(names);
    expect(new Set((await pageOf({})).items.map(({ createdAt }) => createdAt)).size).toBe(1);
  });
});

test('a new bot is first, whichever page was read before', async () => {
  await setBots(numbered(5));
  await allPages({ limit: 2 });
  const { createBot } = await fixture.owner.ask(CreateBotDocument, {
    input: { orgId: fixture.orgId, name: 'new' },
  });
  const pages = await allPages({ limit: 2 });
  expect(pages.map(({ items }) => items.map(({ name }) => name))).toEqual([
    ['new', 'bot 4'],
    ['bot 3', 'bot 2'],
    ['bot 1', 'bot 0'],
  ]);
  expect(pages[0]?.items[0]).toEqual(createBot);
  expect(pages.map(({ total }) => total)).toEqual([6, 6, 6]);
});

test('an organization without bots has an empty first page, and a page count of 0', async () => {
  const orgId = await addOrganization(fixture.database.sql, 'Empty');
  const { token } = await addUser(fixture.database.sql, { [orgId]: 'VIEWER' });
  const { bots } = await fixture.app.client(token).ask(BotsDocument, { orgId });
  expect(bots).toEqual({ items: [], total: 0, page: 1, limit: 20, totalPages: 0, hasNextPage: false });
});

describe('the total stays right when bots are written from outside', () => {
  let otherOrgId: string;

  beforeAll(async () => {
    otherOrgId = await addOrganization(fixture.database.sql, 'Other');
    await fixture.database.sql`insert into memberships (user_id, org_id, role)
      select user_id, ${otherOrgId}, role from memberships where org_id = ${fixture.orgId}`;
    await askUntil(
      async () => await fixture.viewer.send(BotsDocument, { orgId: otherOrgId }),
      ({ errors }) => errors === undefined,
    );
  });

  beforeEach(async () => {
    await fixture.database.sql`delete from bots where org_id = ${otherOrgId}`;
    await setBots(numbered(6));
  });

  const sql = () => fixture.database.sql;

  test.each([
    [
      'inserted',
      8,
      0,
      async () =>
        await sql()`insert into bots (org_id, name) values (${fixture.orgId}, 'a'), (${fixture.orgId}, 'b')`,
    ],
    [
      'deleted',
      4,
      0,
      async () =>
        await sql()`delete from bots where org_id = ${fixture.orgId} and name in ('bot 1', 'bot 2')`,
    ],
    ['moved', 5, 1, async () => await sql()`update bots set org_id = ${otherOrgId} where name = 'bot 3'`],
    [
      'moved together',
      0,
      6,
      async () => await sql()`update bots set org_id = ${otherOrgId} where org_id = ${fixture.orgId}`,
    ],
    ['truncated', 0, 0, async () => await sql()`truncate bots cascade`],
  ] as const)('%s', async (_what, here, there, write) => {
    await write();
    const totals = await askUntil(
      async () => {
        const pages = [await pageOf({ limit: 100 }), await pageOf({ limit: 100 }, otherOrgId)];
        return pages.map(({ total, items }) => ({ total, listed: items.length }));
      },
      ([first, second]) => first?.total === here && second?.total === there,
    );
    expect(totals).toEqual([
      { total: here, listed: here },
      { total: there, listed: there },
    ]);
  });
});
