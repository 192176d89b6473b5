import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import postgres from 'postgres';

import { migrateDatabase } from '../../src/db/migrate.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startOwnPostgres, type OwnPostgres } from '../support/own-postgres.js';

/** The tables that the contract opens to SQL. */
const CONTRACT = ['organizations', 'users', 'memberships', 'bots', 'messages'];

let database: OwnPostgres;

beforeAll(async () => {
  database = await startOwnPostgres({ wal_level: 'logical' });
  await migrateDatabase(database.urlFor());
}, 60_000);

afterAll(async () => {
  await database?.stop();
});

/** The tags that the invalidation log gets while `work` runs. */
async function loggedBy(sql: postgres.Sql, work: () => Promise<unknown>): Promise<string[]> {
  const [before] = await sql<{ xid: string }[]>`select pg_snapshot_xmax(pg_current_snapshot())::text as xid`;
  await work();
  const rows = await sql<{ tags: string[] }[]>`
    select to_json(tags) as tags from public.cache_invalidations where xid >= ${before?.xid ?? '0'}::text::xid8`;
  return rows.flatMap(({ tags }) => tags);
}

test('every trigger function runs with the rights and the search_path of its owner', async () => {
  const rows = await database.sql<{ name: string }[]>`
    select distinct p.proname as name from pg_trigger t join pg_proc p on p.oid = t.tgfoid
      join pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal and c.relnamespace = 'public'::regnamespace
      and not (p.prosecdef and p.proconfig @> array['search_path=pg_catalog, public, pg_temp'])`;
  expect(rows).toEqual([]);
});

describe.each([[''], ['pg_temp'], ['other, public']])('with search_path "%s"', (path) => {
  test('a role with rights on the tables of the contract alone can write them all', async () => {
    const role = `writer_${randomUUID().slice(0, 8)}`;
    await database.sql.unsafe(
      `create role ${role} login; grant select, insert, update, delete on ${CONTRACT.join(', ')} to ${role}`,
    );
    const writer = postgres(database.urlFor(role), {
      max: 1,
      connection: { search_path: path },
      onnotice: () => {},
    });
    const outside = writer.unsafe.bind(writer);
    try {
      const tags = await loggedBy(database.sql, async () => {
        await outside(`
          insert into public.organizations (name, slug) values ('o', '${role}');
          insert into public.users (email) values ('${role}@example.com');
          insert into public.memberships (user_id, org_id) select u.id, o.id from public.users u, public.organizations o
            where u.email = '${role}@example.com' and o.slug = '${role}';
          insert into public.bots (org_id, name) select id, 'b' from public.organizations where slug = '${role}';
          insert into public.messages (bot_id, conversation_id, contact_id, direction, status)
            select b.id, 'c', 'p', 'INBOUND', 'FAILED' from public.bots b join public.organizations o on o.id = b.org_id
            where o.slug = '${role}';
          update public.messages set status = 'DELIVERED' where conversation_id = 'c';
          update public.bots set status = 'RUNNING', name = 'Née' where name = 'b';
          delete from public.memberships where user_id in (select id from public.users where email = '${role}@example.com')`);
      });
      for (const kind of [/^org:[^:]+$/, /^user:/, /^bot:[^:]+$/, /^bot:.*:stats$/, /^org:.*:stats$/])
        expect(tags.some((tag) => kind.test(tag))).toBe(true);
      const [bot] = await database.sql<object[]>`
        select b.version, s.inbound, s.failed, c.total, t.running_bots as running, t.total_messages as messages
        from bots b join bot_stats s on s.bot_id = b.id join bot_counts c on c.org_id = b.org_id
          join organization_totals t on t.org_id = b.org_id join organizations o on o.id = b.org_id
        where o.slug = ${role}`;
      const expected = { version: 2, inbound: '1', failed: '0', total: '1', running: '1', messages: '1' };
      expect(bot).toEqual(expected);
      await outside(`delete from public.organizations where slug = '${role}'`).catch((error: Error) => {
        throw new Error(error.message, { cause: error });
      });
    } finally {
      await writer.end();
      await database.sql.unsafe(`drop owned by ${role}; drop role ${role}`);
    }
  });
});

describe('the log has an entry for', () => {
  test('each row that is written with session_replication_role = replica, exactly once', async () => {
    const orgId = await addOrganization(database.sql);
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const { id: userId } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    const replica = async (statement: string): Promise<string[]> =>
      await loggedBy(database.sql, async () => {
        await database.sql.begin(async (tx) => {
          await tx`set local session_replication_role = replica`;
          await tx.unsafe(statement);
        });
      });
    expect(await replica(`update bots set name = 'x' where id = '${id}'`)).toEqual(
      expect.arrayContaining([`bot:${id}`, `org:${orgId}`]),
    );
    expect(await replica(`update bot_stats set inbound = 5 where bot_id = '${id}'`)).toContain(
      `bot:${id}:stats`,
    );
    expect(await replica(`update bot_stats set org_id = '${orgId}' where bot_id = '${id}'`)).toContain(
      `org:${orgId}:stats`,
    );
    for (const statement of [
      `insert into organization_totals (org_id, shard) values ('${orgId}', 64)`,
      `update organization_totals set running_bots = 7 where org_id = '${orgId}'`,
      `delete from organization_totals where org_id = '${orgId}'`,
    ]) {
      expect(await replica(statement)).toContain(`org:${orgId}:stats`);
    }
    expect(await replica(`update memberships set role = 'OWNER' where user_id = '${userId}'`)).toContain(
      `user:${userId}`,
    );
    expect(await replica(`update users set name = 'x' where id = '${userId}'`)).toContain(`user:${userId}`);
    expect(await replica(`update organizations set name = 'x' where id = '${orgId}'`)).toContain(
      `org:${orgId}`,
    );
    for (const statement of [
      `insert into messages (bot_id, conversation_id, contact_id, direction) values ('${id}', 'c', 'p', 'INBOUND')`,
      `update messages set text = 'x' where bot_id = '${id}'`,
      `delete from messages where bot_id = '${id}'`,
    ]) {
      expect(await replica(statement)).toContain(`bot:${id}:stats`);
    }
    expect(await replica(`delete from bots where id = '${id}'`)).toContain(`bot:${id}`);
    expect(await replica('truncate messages')).toContain('*');
    expect(await replica('truncate organization_totals')).toContain('*');
    expect(await replica('truncate memberships')).toContain('*');
    const usual = await loggedBy(database.sql, async () => {
      await database.sql`update users set name = 'y' where id = ${userId}`;
    });
    expect(usual).toEqual([`user:${userId}`]);
  });

  test("each change of an organization's totals: by a message in one entry, a repair, a bot that moves", async () => {
    const [orgId, otherOrgId] = [await addOrganization(database.sql), await addOrganization(database.sql)];
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const entries = async (statement: string) => {
      const [before] = await database.sql<{ xid: string }[]>`
        select pg_snapshot_xmax(pg_current_snapshot())::text as xid`;
      await database.sql.unsafe(statement);
      const rows = await database.sql<{ tags: string[] }[]>`
        select to_json(tags) as tags from cache_invalidations where xid >= ${before?.xid ?? '0'}::text::xid8`;
      return rows.map(({ tags }) => tags.toSorted());
    };
    const stats = [`bot:${id}:stats`, `org:${orgId}:stats`];
    const message = `(bot_id, conversation_id, contact_id, direction) values ('${id}', 'c', 'p', 'INBOUND')`;
    expect(await entries(`insert into messages ${message}`)).toEqual([stats]);
    expect(await entries(`update messages set status = 'FAILED' where bot_id = '${id}'`)).toEqual([stats]);
    expect(await entries(`delete from messages where bot_id = '${id}'`)).toEqual([stats]);
    const repairs = [
      `insert into organization_totals (org_id, shard) values ('${orgId}', 64)`,
      `update organization_totals set running_bots = 7 where org_id = '${orgId}'`,
      `delete from organization_totals where org_id = '${orgId}' and shard = 64`,
    ];
    for (const repair of repairs) expect(await entries(repair)).toEqual([[`org:${orgId}:stats`]]);
    const recount = await entries(`select recount_organization_totals(array['${orgId}']::uuid[])`);
    expect(recount.flat()).toContain(`org:${orgId}:stats`);
    const moved = (await entries(`update bots set org_id = '${otherOrgId}' where id = '${id}'`)).flat();
    for (const org of [orgId, otherOrgId]) {
      expect(moved).toContain(`org:${org}`);
      expect(moved).toContain(`org:${org}:stats`);
    }
    expect((await entries(`delete from organizations where id = '${otherOrgId}'`)).flat()).toContain(
      `org:${otherOrgId}`,
    );
  });

  test('rows that are loaded while triggers are disabled, as pg_restore --disable-triggers does', async () => {
    const orgId = await addOrganization(database.sql);
    const [id] = (await addBots(database.sql, orgId, 1)) as [string];
    const tags = await loggedBy(database.sql, async () => {
      await database.sql.unsafe('alter table bots disable trigger all');
      await database.sql`update bots set name = 'restored' where id = ${id}`;
      await database.sql.unsafe('alter table bots enable trigger all');
    });
    expect(tags).toContain('*');
    const after = await loggedBy(database.sql, async () => {
      await database.sql`update bots set name = 'later' where id = ${id}`;
    });
    expect(after.toSorted()).toEqual([`bot:${id}`, `org:${orgId}`].toSorted());
  });

  test('a table whose rows are rewritten by ALTER TABLE', async () => {
    const tags = await loggedBy(database.sql, async () => {
      await database.sql.unsafe('alter table organizations alter column name type text using upper(name)');
    });
    expect(tags).toContain('*');
    const messages = await loggedBy(database.sql, async () => {
      await database.sql.unsafe('alter table messages alter column text type text using upper(text)');
    });
    expect(messages).toContain('*');
  });
});

test('rows that logical replication copies from another database are logged', async () => {
  await database.sql.unsafe('create database source');
  await database.sql.unsafe('create database target');
  const [sourceUrl, targetUrl] = ['source', 'target'].map((name) => database.urlFor('postgres', name)) as [
    string,
    string,
  ];
  await migrateDatabase(sourceUrl);
  await migrateDatabase(targetUrl);
  const source = postgres(sourceUrl, { max: 1, onnotice: () => {} });
  const target = postgres(targetUrl, { max: 1, onnotice: () => {} });
  try {
    const tables = [...CONTRACT, 'bot_counts', 'bot_stats', 'conversations', 'organization_totals'].join(
      ', ',
    );
    await source.unsafe(`create publication everything for table ${tables}`);
    // Both databases are on one server, which would wait for itself if the subscription created the replication slot.
    await source`select pg_create_logical_replication_slot('to_target', 'pgoutput')`;
    await target.unsafe(`create subscription from_source
      connection 'host=127.0.0.1 port=${database.port} user=postgres dbname=source'
      publication everything with (create_slot = false, slot_name = 'to_target', copy_data = false)`);
    const orgId = await addOrganization(source);
    const [id] = (await addBots(source, orgId, 1)) as [string];
    await source`insert into messages (bot_id, conversation_id, contact_id, direction) values (${id}, 'c', 'p', 'INBOUND')`;
    await eventually(async () => {
      const rows = await target<
        { tag: string }[]
      >`select distinct unnest(tags) as tag from cache_invalidations`;
      const tags = rows.map(({ tag }) => tag);
      return [`bot:${id}`, `org:${orgId}`, `bot:${id}:stats`, `org:${orgId}:stats`].every((tag) =>
        tags.includes(tag),
      );
    });
    await eventually(async () => {
      const [stats] = await target<{ inbound: string }[]>`select inbound from bot_stats where bot_id = ${id}`;
      return stats?.inbound === '1';
    });
    await eventually(async () => {
      const rows =
        await target`select 1 from organization_totals where org_id = ${orgId} and total_messages = 1`;
      return rows.length === 1;
    });
    await source`truncate bots cascade`;
    await eventually(async () => {
      const rows = await target`select 1 from cache_invalidations where tags = array['*']`;
      expect(rows).not.toHaveLength(0);
    });
    await target.unsafe('drop subscription from_source');
  } finally {
    await Promise.all([source.end({ timeout: 1 }), target.end({ timeout: 1 })]);
  }
}, 60_000);
