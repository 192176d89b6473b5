import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { drizzle } from 'drizzle-orm/postgres-js';
import * as fc from 'fast-check';
import postgres from 'postgres';

import { BotPageRepository } from '../../src/bots/bot-page.repository.js';
import { migrateDatabase } from '../../src/db/migrate.js';
import { addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** Characters that are special to LIKE, case folding or a locale, and plain ones. */
const ALPHABET = [
  ...'aAbB1 -*.%_\\\'"\n{,',
  ...'İiIıßẞΣσςÉéeﬁǄǆ予約Жж한ا🤖👩',
  // The Kelvin sign, which folds to a k; combining marks; the joiner of emoji; letters outside the basic plane.
  ...'\u212ak\u0301\u0307\u200d\u{10400}\u{10428}',
];

/** The contract's case folding, without the database: the two lower-case sigmas are one letter. */
const fold = (text: string): string => text.toLowerCase().replaceAll('ς', 'σ');

interface Searched {
  readonly id: string;
  readonly name: string;
  readonly description: string;
}

/** A statement as it was sent. */
interface Sent {
  readonly text: string;
  readonly parameters: never[];
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Subplan Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

const nodesOf = (node: PlanNode): PlanNode[] => [node, ...(node.Plans ?? []).flatMap(nodesOf)];

describe.each([
  ['the locale C', async () => await createDatabase()],
  ['a locale of ICU', createIcuDatabase],
])('under %s', (_locale, open) => {
  let database: TestDatabase;
  let sql: postgres.Sql;
  let repository: BotPageRepository;
  let sent: Sent[];

  beforeAll(async () => {
    database = await open();
    sql = postgres(database.url, {
      max: 1,
      debug: (_, text, parameters) => sent.push({ text, parameters: parameters as never[] }),
    });
    sent = [];
    repository = new BotPageRepository(drizzle(sql));
  });

  afterAll(async () => {
    await sql?.end();
    await database?.drop();
  });

  const find = async (orgId: string, search: string, limit = 100) =>
    (await repository.findPages([{ orgId, page: 1, limit, search }], ''))[0]?.value;

  describe('of 400 bots with texts of difficult characters', () => {
    let orgId: string;
    let all: Searched[];

    beforeAll(async () => {
      orgId = await addOrganization(database.sql);
      const text = (minLength: number, maxLength: number) =>
        fc.string({ unit: fc.constantFrom(...ALPHABET), minLength, maxLength });
      const rows = fc.sample(fc.tuple(text(1, 6), text(0, 12)), { numRuns: 400, seed: 20 });
      await database.sql`
        insert into bots (org_id, name, description, created_at)
        select ${orgId}, name, description, timestamptz '2026-01-01T00:00:00Z' + position * interval '1 minute'
        from unnest(${rows.map(([name]) => name)}::text[], ${rows.map(([, description]) => description)}::text[])
          with ordinality as texts(name, description, position)`;
      all = await database.sql<Searched[]>`
        select id, name, description from bots where org_id = ${orgId} order by created_at desc`;
    });

    const found = async (search: string) => {
      const page = await find(orgId, search, 400);
      return { total: page?.total, ids: page?.items.map(({ id }) => id) };
    };

    const holding = (search: string) => {
      const bots = all.filter((bot) =>
        [bot.name, bot.description].some((text) => fold(text).includes(fold(search))),
      );
      return { total: bots.length, ids: bots.map(({ id }) => id) };
    };

    test.each(ALPHABET)('%j finds exactly the bots that contain it', async (character) => {
      expect(await found(character)).toEqual(holding(character));
    });

    test('any text finds exactly the bots that contain it', async () => {
      const anything = fc.string({ unit: fc.constantFrom(...ALPHABET), minLength: 1, maxLength: 5 });
      // Texts that some bot contains; random texts seldom match.
      const held = fc
        .tuple(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 8 }), fc.boolean())
        .map(([bot, start, length, upper]) => {
          const { name, description } = all[bot % all.length] as Searched;
          const characters = [...(description === '' ? name : description)];
          const from = start % characters.length;
          const piece = characters.slice(from, from + length).join('');
          return upper ? piece.toUpperCase() : piece;
        });
      await fc.assert(
        fc.asyncProperty(fc.oneof(anything, held), async (search) => {
          expect(await found(search)).toEqual(holding(search));
        }),
        { numRuns: 250 },
      );
    });
  });

  test('a text does not match across the end of the name and the start of the description', async () => {
    const orgId = await addOrganization(database.sql);
    await database.sql`insert into bots (org_id, name, description) values (${orgId}, 'ab', 'cd')`;
    expect((await find(orgId, 'bc'))?.total).toBe(0);
    expect((await find(orgId, '-'))?.total).toBe(0);
    expect((await find(orgId, 'ab'))?.total).toBe(1);
    expect((await find(orgId, 'cd'))?.total).toBe(1);
  });

  test('a text does not match its pairs of characters in another order', async () => {
    const orgId = await addOrganization(database.sql);
    await database.sql`
      insert into bots (org_id, name, description) values
        (${orgId}, '約済 予約', ''), (${orgId}, '予約', '約済'), (${orgId}, '予約済み', '')`;
    const found = await find(orgId, '予約済');
    expect(found?.items.map(({ name }) => name)).toEqual(['予約済み']);
    expect(found?.total).toBe(1);
  });

  describe('among 3,000 bots of one organization', () => {
    let orgId: string;

    beforeAll(async () => {
      await database.sql`delete from organizations`;
      orgId = await addOrganization(database.sql);
      await database.sql`
        insert into bots (org_id, name, description)
        select ${orgId}, 'bot ' || n, case when n = 7 then 'needle 予約済み *** Größe' else 'Answers – all day' end
        from generate_series(1, 3000) as n`;
      await database.sql`vacuum analyze bots`;
    });

    test.each([
      ['a letter of one bot', 'ß', 1],
      ['a letter of every bot', 'o', 3_000],
      ['two letters of every bot', 'BO', 3_000],
      ['two letters of one bot', 'ee', 1],
      ['a word', 'needle', 1],
      ['a word of every bot', 'bot', 3_000],
      ['a word with other letters', 'größe', 1],
      ['one ideograph', '予', 1],
      ['ideographs', '予約済み', 1],
      ['punctuation', '***', 1],
      ['punctuation of nearly every bot', ' – ', 2_999],
      ['what no bot holds', '---', 0],
      ['a wildcard', '%', 0],
      ['letters around a blank', 'l d', 2_999],
      ['an emoji', '🤖', 0],
    ])('%s is found by an index', async (_what, search, total) => {
      sent.length = 0;
      expect((await find(orgId, search))?.total).toBe(total);
      expect(sent).toHaveLength(1);
      const { text, parameters } = sent[0] as Sent;
      const [row] = await sql.unsafe<{ 'QUERY PLAN': { Plan: PlanNode }[] }[]>(
        `explain (format json) ${text}`,
        parameters,
      );
      const [explained] = row?.['QUERY PLAN'] ?? [];
      const matching =
        explained && nodesOf(explained.Plan).find((node) => node['Subplan Name'] === 'CTE matched');
      const nodes = matching ? nodesOf(matching) : [];
      const searched = nodes.filter((node) => /^bots_(?:search|grams)_idx$/.test(node['Index Name'] ?? ''));
      expect(searched.length).toBeGreaterThan(0);
      expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
    });
  });

  test.each([
    ['starting', "status = 'RUNNING'"],
    ['giving the same name again to', 'name = name'],
  ])('%s a bot writes to no index', async (_what, change) => {
    const orgId = await addOrganization(database.sql);
    const [bot] = await database.sql<{ id: string }[]>`
      insert into bots (org_id, name) values (${orgId}, 'bot') returning id`;
    const { id } = bot as { id: string };
    await database.sql`vacuum bots`;
    await database.sql.begin(async (transaction) => {
      const heapOnly = async () => {
        const [row] = await transaction<{ count: string }[]>`
          select pg_stat_get_xact_tuples_hot_updated('bots'::regclass) as count`;
        return Number(row?.count);
      };
      const before = await heapOnly();
      await transaction.unsafe(`update bots set ${change} where id = $1`, [id]);
      expect((await heapOnly()) - before).toBe(1);
    });
  });
});

/** A migrated, empty database whose locale knows more letters than ASCII. */
async function createIcuDatabase(): Promise<TestDatabase> {
  const plain = await createDatabase();
  const name = `${new URL(plain.url).pathname.slice(1)}_icu`;
  await plain.sql.unsafe(
    `create database ${name} template template0 locale_provider icu icu_locale 'en-US' locale 'C'`,
  );
  const url = new URL(plain.url);
  url.pathname = `/${name}`;
  await migrateDatabase(url.href);
  const sql = postgres(url.href, { max: 4, onnotice: () => {} });
  return {
    url: url.href,
    sql,
    async drop() {
      await sql.end({ timeout: 5 });
      await plain.sql.unsafe(`drop database if exists ${name} with (force)`);
      await plain.drop();
    },
  };
}
