import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import postgres from 'postgres';

import { MIGRATIONS, migrateDatabase } from '../../src/db/migrate.js';
import { eventually } from '../support/eventually.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';

/** Any table can be watched, and the schema that other servers install equals that of the migrations. */

const SCHEMA = 'src/cache/postgres/schema.sql';
const WATCH_MIGRATION = '0011_cache_watch';

let server: OwnPostgres;
/** A database with the cache's schema and without the bots' tables. */
let sql: postgres.Sql;
const closers: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  server = await startOwnPostgres();
  sql = await createDatabase('library');
  await install(sql);
}, 60_000);

afterAll(async () => {
  for (const close of closers) await close();
  await server?.stop();
});

async function createDatabase(name: string): Promise<postgres.Sql> {
  await server.sql.unsafe(`create database ${name}`);
  const database = postgres(server.urlFor('postgres', name), {
    max: 4,
    onnotice: () => {},
    fetch_types: false,
  });
  closers.push(async () => await database.end({ timeout: 1 }));
  return database;
}

async function install(database: postgres.Sql): Promise<void> {
  const schema = await readFile(SCHEMA, 'utf8');
  await database.begin(async (tx) => await tx.unsafe(schema));
}

/** The tags that a statement logs, sorted, one list per entry. */
async function loggedBy(statement: string, database = sql): Promise<string[][]> {
  const [before] = await database<{ xid: string }[]>`
    select pg_snapshot_xmax(pg_current_snapshot())::text as xid`;
  await database.begin(async (tx) => await tx.unsafe(statement));
  const rows = await database<{ tags: string[] }[]>`
    select to_json(tags) as tags from public.cache_invalidations
    where xid >= ${before?.xid ?? '0'}::text::xid8 order by logged_at`;
  return rows.map(({ tags }) => tags.toSorted());
}

const watch = async (table: string, tags: string, database = sql): Promise<unknown> =>
  await database`select public.cache_watch(${table}::text::regclass, ${tags})`;

describe('a watched table logs', () => {
  beforeAll(async () => {
    await sql`create table shelves (id int primary key, room text, note text collate "C")`;
    await watch('shelves', `ARRAY['shelf:' || id, 'room:' || room]`);
  });

  test.each<[string, string, string[][]]>([
    [
      'what is inserted',
      `insert into shelves values (1, 'a'), (2, 'b')`,
      [['room:a', 'room:b', 'shelf:1', 'shelf:2']],
    ],
    [
      'both states of a changed row',
      `update shelves set room = 'c' where id = 1`,
      [['room:a', 'room:c', 'shelf:1']],
    ],
    ['no tag that is NULL', `update shelves set room = null where id = 1`, [['room:c', 'shelf:1']]],
    ['no row that stays as it was', `update shelves set note = note`, []],
    [
      'only the changed rows of a statement',
      `update shelves set note = case id when 2 then 'x' end`,
      [['room:b', 'shelf:2']],
    ],
    [
      'what two rows exchange',
      `update shelves set room = case id when 1 then 'b' end`,
      [['room:b', 'shelf:1', 'shelf:2']],
    ],
    ['what is deleted', `delete from shelves where id = 2`, [['shelf:2']]],
    [
      'what ON CONFLICT changes',
      `insert into shelves values (1, 'd') on conflict (id) do update set room = 'e'`,
      [['room:b', 'room:e', 'shelf:1']],
    ],
    [
      'what MERGE changes',
      `merge into shelves using (values (1), (3)) as v (id) on shelves.id = v.id
      when matched then update set room = 'g' when not matched then insert values (v.id, 'h')`,
      [
        ['room:e', 'room:g', 'shelf:1'],
        ['room:h', 'shelf:3'],
      ],
    ],
    ['nothing for a statement that finds nothing', `delete from shelves where id = 99`, []],
    ['everything by TRUNCATE', `truncate shelves`, [['*']]],
    [
      'more than 1,000 tags as everything',
      `insert into shelves select i, null from generate_series(1, 1001) as i`,
      [['*']],
    ],
    [
      'each row of replication',
      `set local session_replication_role = replica; update shelves set room = 'f' where id < 3`,
      [
        ['room:f', 'shelf:1'],
        ['room:f', 'shelf:2'],
      ],
    ],
    ['TRUNCATE by replication', `set local session_replication_role = replica; truncate shelves`, [['*']]],
  ])('%s', async (_, statement, tags) => {
    const logged = await loggedBy(statement);
    expect(logged).toEqual(tags);
  });
});

describe('a change to a value that compares equal but differs is logged:', () => {
  test.each([
    ['text in a collation that ignores case', `text collate ignores_case`, `'Bob'`, `'BOB'`],
    ['a number with more digits', 'numeric', '1.0', '1.00'],
    ['json, which cannot be compared', 'json', `'{}'`, `'{ }'`],
    ['a value that was NULL', 'point', 'NULL', `'(1,2)'`],
  ])('%s', async (_, type, before, after) => {
    await sql.unsafe(`create collation if not exists ignores_case
      (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
      drop table if exists odd; create table odd (id int, value ${type}); insert into odd values (1, ${before})`);
    await watch('odd', `ARRAY['odd:' || id]`);
    expect(await loggedBy(`update odd set value = ${after}`)).toEqual([['odd:1']]);
    expect(await loggedBy(`update odd set value = ${after}`)).toEqual([]);
  });
});

describe('any table can be watched:', () => {
  const LONG = 'ß'.repeat(31);
  test.each<[string, string, string, string]>([
    ['quoted, in another schema', '"O""ther sch%ema"."We ""ird; --"', 'id int', `ARRAY['t:' || id]`],
    ['one with the name of another in public', '"O""ther sch%ema".shelves', 'id int', `ARRAY['t:' || id]`],
    ['with a name of 62 bytes', `"${LONG}"`, 'id int', `ARRAY['t:' || id]`],
    ['with a name that starts like that one', `"${LONG.slice(1)}x"`, 'id int', `ARRAY['t:' || id]`],
    [
      'one whose columns are named like variables',
      'variables',
      'id int, tag text, tags text, touched text, source text, position text, image text, tg_op text, new text, old text',
      `ARRAY['t:' || id, touched || tag || tg_op || new || source]`,
    ],
    [
      'a partitioned one',
      'parts',
      `id int) partition by range (id); create table parts_all partition of parts for values from (0) to (9`,
      `ARRAY['t:' || id]`,
    ],
    ['by an expression that ends in a comment', 'commented', 'id int', `ARRAY['t:' || id] -- the id`],
    [
      'by an expression with quotes and dollars',
      'dollars',
      'id int',
      `ARRAY[replace('t''{rows}$body$:', '''{rows}$body$', '') || id]`,
    ],
  ])('%s', async (_, table, columns, tags) => {
    await sql.unsafe(`create schema if not exists "O""ther sch%ema"; create table if not exists shelves (id int);
      create table ${table} (${columns})`);
    await watch(table, tags);
    expect(await loggedBy(`insert into ${table} (id) values (1)`)).toEqual([['t:1']]);
    expect(await loggedBy(`update ${table} set id = 2`)).toEqual([['t:1', 't:2']]);
    expect(
      await loggedBy(`set local session_replication_role = replica; update ${table} set id = 3`),
    ).toEqual([['t:2', 't:3']]);
    expect(await loggedBy(`delete from ${table}`)).toEqual([['t:3']]);
    // The event trigger recognizes a watched table by these names.
    const [altered] = await loggedBy(`alter table ${table} add more int`);
    expect(altered).toEqual(['*']);
  });

  test('a renamed table, beside a new one that has its old name', async () => {
    await sql.unsafe('create table renamed (id int)');
    await watch('renamed', `ARRAY['first:' || id]`);
    await sql.unsafe('alter table renamed rename to elsewhere; create table renamed (id int)');
    await watch('renamed', `ARRAY['second:' || id]`);
    expect(await loggedBy('insert into elsewhere values (1)')).toEqual([['first:1']]);
    expect(await loggedBy('insert into renamed values (1)')).toEqual([['second:1']]);
    await watch('elsewhere', `ARRAY['third:' || id]`);
    expect(await loggedBy('insert into elsewhere values (1)')).toEqual([['third:1']]);
    expect(await loggedBy('insert into renamed values (1)')).toEqual([['second:1']]);
  });

  test("without changing the application's functions of similar names", async () => {
    await sql.unsafe(`create table taken (id int); create function taken_log_insert() returns trigger language plpgsql
      as $$ begin return null; end $$`);
    await watch('taken', `ARRAY['t:' || id]`);
    expect(await loggedBy('insert into taken values (1)')).toEqual([['t:1']]);
    const [kept] = await sql<
      { body: string }[]
    >`select prosrc as body from pg_proc where proname = 'taken_log_insert'`;
    expect(kept?.body).toBe(' begin return null; end ');
  });
});

describe('watching', () => {
  test.each([
    ['no array', 'id::text', /must be of type text\[\], not text/],
    ['another array', 'ARRAY[id]', /must be of type text\[\], not integer\[\]/],
    ['no expression', 'ARRAY[', /cannot be computed: syntax error/],
    ['an empty text', '', /cannot be computed: syntax error/],
    ['a missing column', 'ARRAY[nope]', /cannot be computed: column "nope" does not exist/],
    ['an aggregate', `ARRAY[count(*)::text]`, /cannot be computed: .*GROUP BY/],
    ['a set', `regexp_matches(id::text, 'x')`, /cannot be computed: set-returning/],
    [
      'more than an expression',
      `ARRAY['x'] FROM refused; DROP TABLE refused; --`,
      /cannot be computed: syntax error/,
    ],
    [
      'a virtual column, which triggers see as NULL',
      'ARRAY[virtual]',
      /cannot be computed: column "virtual" does not exist/,
    ],
  ])('refuses tags that are %s, and the table stays writable', async (_, tags, message) => {
    await sql.unsafe(
      `create table if not exists refused (id int, virtual text generated always as ('v' || id) virtual)`,
    );
    await expect(watch('refused', tags)).rejects.toThrow(message);
    await sql`insert into refused values (1)`;
  });

  test.each(['cache_invalidations', 'cache_log_state', 'cache_log_horizons', 'a_view', 'pg_sequences'])(
    'refuses %s',
    async (table) => {
      await sql`create or replace view a_view as select 1 as id`;
      await expect(watch(table, `ARRAY['x']`)).rejects.toThrow(/cannot be watched/);
    },
  );

  test('again with other tags replaces them at once, waits for writers, and outdates cached values', async () => {
    await sql`create table again (id int)`;
    await watch('again', `ARRAY['old:' || id]`);
    let commit = (): void => {};
    const held = new Promise<void>((resolve) => {
      commit = resolve;
    });
    let written = (): void => {};
    const isWritten = new Promise<void>((resolve) => {
      written = resolve;
    });
    const writer = sql.begin(async (tx) => {
      await tx`insert into again values (1)`;
      written();
      await held;
    });
    await isWritten;
    const watching = loggedBy(`select cache_watch('again', $$ARRAY['new:' || id]$$)`);
    await eventually(async () => {
      const waiting = await sql`select 1 from pg_locks where relation = 'again'::regclass and not granted`;
      return waiting.length > 0;
    });
    commit();
    await writer;
    expect(await watching).toContainEqual(['*']);
    expect(await loggedBy('insert into again values (2)')).toEqual([['new:2']]);
  });

  test('again in the same way locks nothing and logs nothing', async () => {
    await sql`create table same (id int)`;
    await watch('same', `ARRAY['same:' || id]`);
    await sql.begin(async (tx) => {
      await tx`insert into same values (1)`;
      await sql.begin(async (other) => {
        await other`set local lock_timeout = '1s'`;
        await other`select cache_watch('same', ${`ARRAY['same:' || id]`})`;
        await other.unsafe(await readFile(SCHEMA, 'utf8'));
      });
    });
    expect(await loggedBy(`select cache_watch('same', $$ARRAY['same:' || id]$$)`)).toEqual([]);
  });

  test('again repairs triggers that were dropped, disabled, or enabled by pg_restore, and keeps those enabled ALWAYS', async () => {
    await sql`create table repaired (id int)`;
    await watch('repaired', `ARRAY['r:' || id]`);
    const triggers = async (): Promise<unknown> =>
      await sql`select tgname, tgenabled from pg_trigger where tgrelid = 'repaired'::regclass order by tgname`;
    const wanted = await triggers();
    await sql.unsafe(`alter table repaired disable trigger all; alter table repaired enable trigger all;
      alter table repaired disable trigger repaired_90_log_insert; drop trigger repaired_90_log_update on repaired`);
    await watch('repaired', `ARRAY['r:' || id]`);
    expect(await triggers()).toEqual(wanted);
    await sql.unsafe('alter table repaired enable always trigger repaired_90_log_insert');
    await watch('repaired', `ARRAY['changed:' || id]`);
    const [always] = await sql`select tgenabled from pg_trigger where tgname = 'repaired_90_log_insert'`;
    expect(always).toEqual({ tgenabled: 'A' });
  });

  test('ends with cache_unwatch, which leaves nothing behind', async () => {
    await sql`create table ended (id int)`;
    await watch('ended', `ARRAY['e:' || id]`);
    await sql`select cache_unwatch('ended')`;
    await sql`select cache_unwatch('ended')`;
    expect(await loggedBy('insert into ended values (1)')).toEqual([]);
    const left = await sql`select tgname from pg_trigger where tgrelid = 'ended'::regclass
      union all select proname from pg_proc where proname like 'ended%'`;
    expect(left).toEqual([]);
  });

  test('works in sessions of any search_path, for writers with rights on the table alone', async () => {
    await sql.unsafe(
      `create table seen (id int); create role writer login; grant insert, update, delete, select on seen to writer`,
    );
    await watch('seen', `ARRAY['seen:' || id]`);
    expect(
      await loggedBy(`set local role writer; set local search_path = ''; insert into public.seen values (1);
      update public.seen set id = 2; delete from public.seen`),
    ).toEqual([['seen:1'], ['seen:1', 'seen:2'], ['seen:2']]);
  });
});

/** The definitions of the cache's objects, by name. */
async function catalogOf(
  database: postgres.Sql,
  watched: readonly string[],
): Promise<Record<string, string>> {
  const rows = await database<{ name: string; definition: string }[]>`
    with watched as (select to_regclass(name) as oid from unnest(string_to_array(${watched.join(',')}, ',')) as t (name)),
    own as (select oid from pg_class where relname like 'cache\_%' and relkind = 'r' and relnamespace = 'public'::regnamespace),
    triggers as (
      select * from pg_trigger where not tgisinternal and (tgrelid in (select oid from own)
        or tgrelid in (select oid from watched) and tgname ~ '_9[01]_log_')
    )
    select 'function ' || p.oid::regprocedure as name, pg_get_functiondef(p.oid) as definition from pg_proc as p
      where p.pronamespace = 'public'::regnamespace and (p.oid in (select tgfoid from triggers) or p.proname ~ '(^|_)cache(_|$)'
        or p.proname in ('log_altered_table'))
    union all
    select 'trigger ' || tgname, tgenabled::text || ' ' || pg_get_triggerdef(oid) from triggers
    union all
    select 'event trigger ' || evtname, concat_ws(' ', evtevent, evttags::text, evtfoid::regprocedure) from pg_event_trigger
    union all
    select 'column ' || attrelid::regclass || '.' || attname,
      concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, pg_get_expr(d.adbin, d.adrelid))
      from pg_attribute left join pg_attrdef as d on d.adrelid = attrelid and d.adnum = attnum
      where attrelid in (select oid from own) and attnum > 0 and not attisdropped
    union all
    select 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index where indrelid in (select oid from own)
    union all
    select 'constraint ' || conname, pg_get_constraintdef(oid) from pg_constraint where conrelid in (select oid from own)`;
  return Object.fromEntries(rows.map(({ name, definition }) => [name, definition]));
}

/** When a migration was made (ms since 1970). */
async function timeOf(migration: string): Promise<number> {
  const journal = JSON.parse(await readFile(`${MIGRATIONS}/meta/_journal.json`, 'utf8')) as {
    entries: { tag: string; when: number }[];
  };
  return journal.entries.find(({ tag }) => tag === migration)?.when ?? 0;
}

/** Applies the migrations before this one. */
async function migrateUntil(database: postgres.Sql, last: string): Promise<void> {
  const until = await timeOf(last);
  await database.unsafe('create schema drizzle; create table drizzle.__drizzle_migrations (hash text)');
  for (const { sql: statements, folderMillis } of readMigrationFiles({ migrationsFolder: MIGRATIONS })) {
    if (folderMillis >= until) continue;
    await database.begin(async (tx) => {
      for (const statement of statements) await tx.unsafe(statement);
    });
  }
}

/** Applies the migration that puts the tables under watch. */
async function migrateToWatches(database: postgres.Sql): Promise<void> {
  const time = await timeOf(WATCH_MIGRATION);
  const files = readMigrationFiles({ migrationsFolder: MIGRATIONS });
  const statements = files.find(({ folderMillis }) => folderMillis === time)?.sql ?? [];
  await database.begin(async (tx) => {
    for (const statement of statements) await tx.unsafe(statement);
  });
}

const watchesOfTheProject = async (): Promise<string[]> =>
  (await readFile(`${MIGRATIONS}/${WATCH_MIGRATION}.sql`, 'utf8')).match(
    /^SELECT public\.cache_watch\(.*;/gm,
  ) ?? [];

test('schema.sql and the migrations create the same log, functions and triggers', async () => {
  const migrated = await createDatabase('migrated');
  await migrateDatabase(server.urlFor('postgres', 'migrated'));
  const other = await createDatabase('installed');
  await install(other);
  await install(other);
  await other.unsafe(`create table organizations (id uuid); create table users (id uuid, subject text);
    create table memberships (user_id uuid); create table bots (id uuid, org_id uuid);
    create table bot_counts (org_id uuid); create table bot_stats (bot_id uuid, org_id uuid)`);
  const watches = await watchesOfTheProject();
  for (const each of watches) await other.unsafe(each);
  const watched = watches.map((each) => /'public\.(\w+)'/.exec(each)?.[1] ?? '');
  expect(watched).toHaveLength(6);
  // Only releases before migration 0007 call it.
  const { 'function prune_cache_invalidations(xid8)': _, ...made } = await catalogOf(migrated, watched);
  expect(Object.keys(made).length).toBeGreaterThan(60);
  expect(made).toEqual(await catalogOf(other, watched));
});

test('the logged tags are those of the previous release', async () => {
  const before = await createDatabase('before');
  await migrateUntil(before, WATCH_MIGRATION);
  const now = await createDatabase('now');
  await migrateUntil(now, WATCH_MIGRATION);
  await migrateToWatches(now);
  const id = (n: number): string => `'00000000-0000-4000-8000-00000000000${n}'`;
  const writes = [
    `insert into organizations (id, name, slug) values (${id(1)}, 'a', 'a'), (${id(2)}, 'b', 'b')`,
    `insert into users (id, email, subject) values (${id(3)}, 'a@example.com', 'auth0|ä'), (${id(4)}, 'b@example.com', null)`,
    `update users set subject = 'other' where id = ${id(3)}`,
    `update users set subject = null where subject is not null`,
    `insert into memberships (user_id, org_id) values (${id(3)}, ${id(1)}), (${id(4)}, ${id(1)})`,
    `update memberships set role = 'OWNER'`,
    `insert into bots (id, org_id, name) values (${id(5)}, ${id(1)}, 'a'), (${id(6)}, ${id(2)}, 'b')`,
    `update bots set org_id = ${id(2)}, name = 'moved' where id = ${id(5)}`,
    `insert into messages (id, bot_id, conversation_id, contact_id, direction) values (${id(7)}, ${id(5)}, 'c', 'p', 'INBOUND')`,
    `update messages set status = 'FAILED'`,
    `delete from messages`,
    `update bot_counts set total = case org_id when ${id(1)} then 7 else total end`,
    `update organizations set name = 'x' where id = ${id(1)}`,
    `set local session_replication_role = replica; update bots set name = 'r'; update bot_counts set total = 9;
      update organizations set name = 'r'; update memberships set role = 'VIEWER'; update bot_stats set inbound = 9;
      update organization_totals set running_bots = 9`,
    `update organization_totals set running_bots = running_bots + 1 where org_id = ${id(1)}`,
    `truncate messages`,
    `delete from users where id = ${id(3)}`,
    `delete from organizations where id = ${id(2)}`,
    `truncate organizations cascade`,
  ];
  for (const write of writes) {
    const sets = await Promise.all(
      [before, now].map(async (database) =>
        [...new Set((await loggedBy(write, database)).flat())].toSorted(),
      ),
    );
    expect({ write, tags: sets[1] }).toEqual({ write, tags: sets[0] });
  }
  const replicated = `insert into users (email, subject) values ('c@example.com', 's'); set local session_replication_role = replica;
    update users set name = 'r' where subject = 's'`;
  // The previous release did not log the subject of a user that replication writes.
  expect((await loggedBy(replicated, before)).at(-1)).not.toContainEqual(expect.stringMatching(/^subject:/));
  expect((await loggedBy(replicated, now)).at(-1)).toContainEqual(expect.stringMatching(/^subject:/));
});

test('writers continue while the watch is installed, and none of their writes is missed', async () => {
  const busy = await createDatabase('busy');
  await migrateUntil(busy, WATCH_MIGRATION);
  const progress = { isMigrated: false, writes: 0 };
  /** The statements of the previous release, on tables of all kinds in one transaction each. */
  const write = async (n: number): Promise<void> => {
    for (let i = 0; !progress.isMigrated || i < 5; i++) {
      await busy.unsafe(`with o as (insert into organizations (name, slug) values ('o', 's-${n}-${i}') returning id),
        b as (insert into bots (org_id, name) select id, 'b' from o returning id) select from b`);
      await busy.unsafe(`insert into messages (bot_id, conversation_id, contact_id, direction)
        select b.id, 'c', 'p', 'INBOUND' from bots as b join organizations as o on o.id = b.org_id where o.slug = 's-${n}-${i}'`);
      await busy.unsafe(
        `update bots set name = 'x' where org_id in (select id from organizations where slug = 's-${n}-${i}')`,
      );
      if (i % 2 === 0) await busy.unsafe(`delete from organizations where slug = 's-${n}-${i}'`);
      progress.writes++;
    }
  };
  const writing = Promise.all([1, 2, 3].map(async (n) => await write(n)));
  await eventually(() => progress.writes > 20);
  await migrateToWatches(busy);
  progress.isMigrated = true;
  await writing;
  const missing = await busy`select id from bots
    where not exists (select from cache_invalidations where ('bot:' || bots.id) = any (tags))`;
  expect(missing).toEqual([]);
});
