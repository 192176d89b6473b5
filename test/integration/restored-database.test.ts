import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import postgres from 'postgres';

import { migrateDatabase } from '../../src/db/migrate.js';
import { resetCache } from '../../src/cache/postgres/epoch.js';
import { startPostgres, type PostgresService } from '../../src/dev/services/postgres.js';
import { BotDocument } from '../generated/graphql.js';
import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

/** A server must notice a restored database within this time (ms). */
const MAX_UNNOTICED_MS = 2_000;
/** More transaction ids than the new cluster uses during the test. */
const XIDS_AHEAD = 5_000;

let folder: string;
let cluster: PostgresService;
let redis: RedisService;
let database: TestDatabase;
let botId: string;
let token: string;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(`${process.env.FLOVO_TEST_FOLDER}-second-`);
  const quick = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };
  cluster = await startPostgres({ dataDir: folder, log: () => {}, settings: quick });
}, 120_000);

afterAll(async () => {
  await cluster?.stop();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  [database, redis] = await Promise.all([createDatabase(), createRedis()]);
  const orgId = await addOrganization(database.sql);
  botId = (await addBots(database.sql, orgId, 1))[0] as string;
  ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
});

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  await redis?.stop();
  await database?.drop();
});

const start = async (url: string): Promise<TestApp> => {
  const app = await startApp({ DATABASE_URL: url, REDIS_URL: redis.url, RESPONSE_CACHE: 'off' });
  closers.push(app.close);
  await eventually(() => app.app.readiness().then(({ cache }) => cache === 'up'));
  return app;
};
const nameSeen = async (app: TestApp): Promise<string | undefined> =>
  (await app.client(token).ask(BotDocument, { id: botId })).bot?.name;
const hits = async (app: TestApp) => await app.metric('flovo_cache_hits_total', { resource: 'bot' });

/** Whether reads come from the cache again: a second read is a hit. */
const isCached = async (app: TestApp): Promise<boolean> => {
  await nameSeen(app);
  const before = await hits(app);
  await nameSeen(app);
  return (await hits(app)) > before;
};

/** Uses up transaction ids, so that the log's are larger than any of the new cluster. */
async function useTransactionIds(sql: postgres.Sql): Promise<void> {
  await sql.unsafe(`do $$ begin
    for i in 1..${XIDS_AHEAD} loop
      perform pg_current_xact_id();
      commit;
    end loop;
  end $$`);
}

const TABLES = [
  'organizations',
  'users',
  'memberships',
  'bots',
  'bot_stats',
  'bot_counts',
  'organization_totals',
  'cache_invalidations',
];

/** Copies every row into a new, migrated database, as `pg_restore` does: it creates triggers after the rows. */
async function restoreInto(url: string): Promise<postgres.Sql> {
  await migrateDatabase(url);
  const target = postgres(url, { max: 1, onnotice: () => {} });
  closers.push(async () => await target.end({ timeout: 1 }));
  for (const table of TABLES) await target.unsafe(`alter table ${table} disable trigger user`);
  for (const table of TABLES) {
    const [dump] = await database.sql<[{ rows: string }]>`
      select coalesce(json_agg(to_json(t)), '[]')::text as rows from ${database.sql(table)} as t`;
    await target`truncate ${target(table)} cascade`;
    await target`insert into ${target(table)} select * from json_populate_recordset(null::${target(table)}, ${dump.rows}::text::json)`;
  }
  const [state] = await database.sql<[{ epoch: string; database: string; pruned_below: string }]>`
    select epoch, database, pruned_below::text from cache_log_state`;
  await target`update cache_log_state set epoch = ${state.epoch}, database = ${state.database},
    pruned_below = ${state.pruned_below}::xid8`;
  for (const table of TABLES) await target.unsafe(`alter table ${table} enable trigger user`);
  return target;
}

const databaseOfSecondCluster = async (): Promise<string> => {
  const name = new URL(database.url).pathname.slice(1);
  const admin = postgres(cluster.url, { max: 1, onnotice: () => {} });
  await admin.unsafe(`create database ${name}`);
  await admin.end();
  const url = new URL(cluster.url);
  url.pathname = `/${name}`;
  return url.href;
};

const logged = async (sql: postgres.Sql) =>
  (await sql<{ xid: string }[]>`select xid::text from cache_invalidations`).map(({ xid }) => Number(xid));

test('a database restored into a younger cluster is served and cached again, and its old log is deleted', async () => {
  await useTransactionIds(database.sql);
  await database.sql`update bots set description = 'logged under a late id'`;
  const before = await start(database.url);
  expect(await nameSeen(before)).toBe('bot 1');
  const url = await databaseOfSecondCluster();
  const target = await restoreInto(url);
  // The user has no administrator's privileges.
  expect(await target`select cache_database() as name`).toEqual([
    { name: expect.stringMatching(/^\d+\/[0-9A-F]{8}\/\d+\/\d+$/) },
  ]);
  expect(Math.max(...(await logged(target)))).toBeGreaterThan(XIDS_AHEAD / 2);
  // The old servers continue to run; the new one must not use values that they have cached or cache now.
  await database.sql`update bots set name = 'changed after the dump'`;
  await eventually(async () => (await nameSeen(before)) === 'changed after the dump');

  const after = await start(url);
  expect(await nameSeen(after)).toBe('bot 1');
  expect(await isCached(after)).toBe(true);
  const [{ xmax }] = await target<
    [{ xmax: string }]
  >`select pg_snapshot_xmax(pg_current_snapshot())::text as xmax`;
  for (const xid of await logged(target)) expect(xid).toBeLessThan(Number(xmax));

  await target`update bots set name = 'changed in the restored database'`;
  await eventually(
    async () => (await nameSeen(after)) === 'changed in the restored database',
    MAX_UNNOTICED_MS,
  );
}, 60_000);

test('a running server notices within 2 s that its database was replaced', async () => {
  await useTransactionIds(database.sql);
  const proxy = await TcpProxy.before(database.url);
  closers.push(async () => await Promise.resolve(proxy.close()));
  const app = await start(proxy.url);
  expect(await nameSeen(app)).toBe('bot 1');
  expect(await isCached(app)).toBe(true);
  const url = await databaseOfSecondCluster();
  const target = await restoreInto(url);
  await target`update bots set name = 'moved'`;
  proxy.retarget(url);
  proxy.cut();
  await eventually(async () => (await nameSeen(app)) === 'moved', MAX_UNNOTICED_MS);
  expect(await isCached(app)).toBe(true);
}, 60_000);

test('an older copy in the same cluster is another database: values cached from the newer one are not used', async () => {
  const copy = await createDatabase();
  closers.push(copy.drop);
  const app = await start(database.url);
  await database.sql`update bots set name = 'newer'`;
  await eventually(async () => (await nameSeen(app)) === 'newer');
  expect(await isCached(app)).toBe(true);
  for (const table of TABLES.slice(0, 4)) {
    const [dump] = await database.sql<[{ rows: string }]>`
      select json_agg(to_json(t))::text as rows from ${database.sql(table)} as t`;
    await copy.sql`insert into ${copy.sql(table)} select * from json_populate_recordset(null::${copy.sql(table)}, ${dump.rows}::text::json)`;
  }
  await copy.sql`update bots set name = 'older'`;
  await copy.sql`delete from cache_invalidations`;
  expect(await nameSeen(await start(copy.url))).toBe('older');
});

test.each([
  ['the command that resets the cache', async () => await resetCache(database.sql)],
  [
    'emptying every table of the log',
    async () => {
      await database.sql`truncate cache_invalidations, cache_log_state, cache_log_horizons`;
    },
  ],
])('after %s, values cached before are not used, and caching continues', async (_what, reset) => {
  const app = await start(database.url);
  await nameSeen(app);
  expect(await isCached(app)).toBe(true);
  // An unlogged write, as if the database's files had been set back.
  await database.sql`alter table bots disable trigger user`;
  await database.sql`update bots set name = 'unlogged'`;
  await database.sql`alter table bots enable trigger user`;
  expect(await nameSeen(app)).toBe('bot 1');
  await reset();
  await eventually(async () => (await nameSeen(app)) === 'unlogged', MAX_UNNOTICED_MS);
  expect(await isCached(app)).toBe(true);
});

test('every load for the cache names the epoch of its database', async () => {
  const files = (await readdir('src', { recursive: true })).filter((file) => file.endsWith('.repository.ts'));
  expect(files.length).toBeGreaterThan(3);
  for (const file of files) {
    expect([file, (await readFile(`src/${file}`, 'utf8')).includes('pg_current_snapshot')]).toEqual([
      file,
      false,
    ]);
  }
});
