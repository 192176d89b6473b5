import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import type postgres from 'postgres';

import { InvalidationLog, type LogSource } from '../../src/cache/invalidation/invalidation-log.js';
import { Invalidator } from '../../src/cache/invalidation/invalidator.js';
import { KeySpace } from '../../src/cache/core/keys.js';
import { SILENT } from '../../src/cache/core/observer.js';
import { InvalidationLogMaintenance } from '../../src/cache/invalidation/invalidation-log-maintenance.js';
import { invalidationLogSource } from '../../src/cache/postgres/invalidation-log-source.js';
import { cacheConnection } from '../../src/db/cache-connection.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/** Effects of other sessions on the tables of the invalidation log. */

const silent = pino({ level: 'silent' });
const closers: (() => unknown)[] = [];
let database: TestDatabase;
let sql: postgres.Sql;
let a: string;
let b: string;

beforeAll(async () => {
  database = await createDatabase();
  ({ sql } = database);
});

afterAll(async () => {
  await database?.drop();
});

beforeEach(async () => {
  [a, b] = (await addBots(sql, await addOrganization(sql), 2)) as [string, string];
});

afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** By default the tests decide when the log is read. */
const openLog = async (
  source = invalidationLogSource(cacheConnection(database.url)),
  intervalMs = 1_000_000,
): Promise<InvalidationLog> => {
  const log = new InvalidationLog({ source, log: silent, intervalMs });
  closers.push(async () => await log.stop());
  await log.start();
  return log;
};
const snapshotNow = async (): Promise<string> => {
  const [row] = await sql<[{ snapshot: string }]>`
    select pg_current_snapshot()::text || '@' || coalesce((select epoch from cache_log_state), '') as snapshot`;
  return row.snapshot;
};
const rename = async (id: string, on: postgres.Sql = sql): Promise<void> => {
  await on`update bots set name = ${`${Math.random()}`} where id = ${id}`;
};
const countEntries = async (): Promise<number> => {
  const [row] = await sql<[{ count: number }]>`select count(*)::int as count from cache_invalidations`;
  return row.count;
};
/** Restores as `pg_restore --data-only --disable-triggers` does. */
const withoutTriggers = async (table: string, statement: string): Promise<void> => {
  await sql.unsafe(`alter table ${table} disable trigger all`);
  await sql.unsafe(statement);
  await sql.unsafe(`alter table ${table} enable trigger all`);
};

describe('the log check refuses values that it cannot verify, and no others, after', () => {
  test.each<[string, () => Promise<unknown>]>([
    ['TRUNCATE of the entries', async () => await sql`truncate cache_invalidations`],
    ['DELETE of the entries', async () => await sql`delete from cache_invalidations`],
    ['TRUNCATE of the state', async () => await sql`truncate cache_log_state`],
    ['DELETE of the state', async () => await sql`delete from cache_log_state`],
    ['TRUNCATE of the horizons', async () => await sql`truncate cache_log_horizons`],
    [
      'TRUNCATE of all tables of the log',
      async () => await sql`truncate cache_invalidations, cache_log_state, cache_log_horizons`,
    ],
    [
      'TRUNCATE of state, then of the entries, in one transaction',
      async () =>
        await sql.begin(async (transaction) => {
          await transaction`truncate cache_log_state`;
          await transaction`truncate cache_invalidations`;
        }),
    ],
    [
      'emptying everything with triggers disabled',
      async () => {
        await withoutTriggers('cache_invalidations', 'truncate cache_invalidations');
        await withoutTriggers('cache_log_state', 'truncate cache_log_state');
      },
    ],
  ])('%s', async (_name, empty) => {
    const running = await openLog();
    const before = await snapshotNow();
    await rename(a);
    // The event comes before any process has read of the write.
    await empty();
    await running.confirm();
    expect(running.accepts([`bot:${a}`], before)).toBe(false);
    expect(running.isCurrent).toBe(true);
    await running.confirm();
    expect(running.isCurrent).toBe(true);
    expect(running.accepts([`bot:${a}`], before)).toBe(false);
    const later = await snapshotNow();
    const started = await openLog();
    for (const log of [running, started]) {
      await log.confirm();
      expect(log.accepts([`bot:${a}`], before)).toBe(false);
      expect(log.accepts([`bot:${a}`, `bot:${b}`], later)).toBe(true);
    }
    await rename(b);
    for (const log of [running, started]) {
      await log.confirm();
      expect(log.accepts([`bot:${b}`], later)).toBe(false);
      expect(log.accepts([`bot:${a}`], later)).toBe(true);
    }
  });
});

describe('the log is kept short', () => {
  test('by writers if no server does it, and servers that start later refuse values that they cannot verify', async () => {
    const before = await snapshotNow();
    await rename(a);
    await sql`delete from cache_log_horizons`;
    await sql`insert into cache_log_horizons (taken_at, snapshot) values (now() - interval '21 minutes', pg_current_snapshot())`;
    await rename(b);
    await sql`select keep_cache_log_short()`;
    // The entry of the later write, and the entry "everything".
    const left = await sql<
      { tags: string[] }[]
    >`select to_json(tags) as tags from cache_invalidations order by xid`;
    expect(left.map(({ tags }) => tags[0])).toEqual([`bot:${b}`, '*']);
    const log = await openLog();
    expect(log.accepts([`bot:${a}`], before)).toBe(false);
    expect(log.accepts([`bot:${a}`], await snapshotNow())).toBe(true);
  });

  test('while the transaction of a writer that shortens it stays open', async () => {
    await sql`delete from cache_log_horizons`;
    await sql`insert into cache_log_horizons (taken_at, snapshot) values (now() - interval '21 minutes', pg_current_snapshot())`;
    const writer = await sql.reserve();
    await writer`begin`;
    await rename(a, writer);
    await writer`select keep_cache_log_short()`;
    try {
      const source = invalidationLogSource(cacheConnection(database.url));
      const log = await openLog(source);
      for (let i = 0; i < 10; i++) await rename(b);
      await sql`select keep_cache_log_short()`;
      const [{ below }] = await sql<
        [{ below: string }]
      >`select pg_snapshot_xmax(pg_current_snapshot())::text as below`;
      await source.prune(0, Number(below));
      await log.confirm();
      expect(log.isCurrent).toBe(true);
      // Entries that the writer deleted stay until it ends; later entries are gone.
      const later = await sql`select from cache_invalidations 
        where tags @> array[${`bot:${b}`}] and not tags @> array[${`bot:${a}`}]`;
      expect(later).toHaveLength(0);
    } finally {
      await writer`rollback`;
      writer.release();
    }
  });

  test('although a transaction stays open for long, and values loaded beside it are served until it ends', async () => {
    const holder = await sql.reserve();
    await holder`begin`;
    await rename(a, holder);
    try {
      const source = invalidationLogSource(cacheConnection(database.url));
      const log = await openLog(source);
      const old = await snapshotNow();
      for (let i = 0; i < 20; i++) await rename(b);
      const recent = await snapshotNow();
      await source.prune(0, Number(recent.split(':')[1]));
      expect(await countEntries()).toBe(0);
      await log.confirm();
      expect(log.accepts([`bot:${a}`], old)).toBe(false);
      expect(log.accepts([`bot:${a}`], recent)).toBe(true);
      await holder`commit`;
      await log.confirm();
      expect(log.accepts([`bot:${a}`], recent)).toBe(false);
      expect((await openLog()).accepts([`bot:${a}`], recent)).toBe(false);
      expect(log.accepts([`bot:${a}`], await snapshotNow())).toBe(true);
    } finally {
      await holder`rollback`;
      holder.release();
    }
  });
});

describe('a read of the log is bounded', () => {
  test.each([
    [
      'many entries',
      async () =>
        await sql`insert into cache_invalidations (tags) select array['bot:' || n] from generate_series(1, 120000) as n`,
      20_002,
    ],
    [
      'many tags',
      async () =>
        await sql`insert into cache_invalidations (tags) select array_agg('bot:' || n || ':' || m)
          from generate_series(1, 500) as n, generate_series(1, 1000) as m group by n`,
      300,
    ],
  ] as const)(
    'however large the backlog is: %s',
    async (_name, fill, maxEntries) => {
      const source = invalidationLogSource(cacheConnection(database.url));
      const entries: number[] = [];
      const counting: LogSource = {
        ...source,
        poll: async (since) => {
          const batch = await source.poll(since);
          entries.push(batch.entries.length);
          return batch;
        },
      };
      const log = await openLog(counting, 20);
      const before = await snapshotNow();
      await rename(a);
      const between = await snapshotNow();
      await fill();
      await rename(b);
      // On a busy machine a poll of so many entries may time out; the next one has more time.
      await eventually(async () => {
        await log.confirm();
        return log.isCurrent && Math.max(...entries) > 100;
      });
      expect(Math.max(...entries)).toBeLessThan(maxEntries);
      expect(log.accepts([`bot:${a}`], before)).toBe(false);
      expect(log.accepts([`bot:${b}`], between)).toBe(false);
      await eventually(async () => {
        await log.confirm();
        return log.accepts([`bot:${a}`, `bot:${b}`], await snapshotNow());
      });
      await sql`truncate cache_invalidations`;
    },
    60_000,
  );

  test('and does not read restored entries of another cluster repeatedly', async () => {
    const source = invalidationLogSource(cacheConnection(database.url));
    await sql`insert into cache_invalidations (xid, tags) select '9000000000'::xid8, array['bot:x'] from generate_series(1, 500)`;
    const first = await source.open();
    const second = await source.poll(first.snapshot);
    await source.close();
    await sql`truncate cache_invalidations`;
    expect([...first.entries, ...second.entries].filter(({ tags }) => tags.includes('bot:x'))).toEqual([]);
  });
});

test('a process that never becomes leader uses little memory, and seldom asks to lead', async () => {
  const leader = invalidationLogSource(cacheConnection(database.url));
  await leader.open();
  expect(await leader.lead()).toBe(true);
  closers.push(async () => await leader.close());
  const source = invalidationLogSource(cacheConnection(database.url));
  let asked = 0;
  const counting: LogSource = {
    ...source,
    lead: async () => {
      asked += 1;
      return await source.lead();
    },
  };
  const log = new InvalidationLog({ source: counting, log: silent, intervalMs: 5 });
  const maintenance = new InvalidationLogMaintenance({
    invalidationLog: log,
    source: counting,
    invalidator: new Invalidator({
      store: undefined,
      circuitBreaker: undefined,
      keys: new KeySpace({ prefix: '', cluster: false }),
      observer: SILENT,
      log: silent,
    }),
    store: undefined,
    log: silent,
    retention: { keepEntries: 100, pruneEveryMs: 20 },
  });
  closers.push(async () => await log.stop());
  closers.push(async () => await maintenance.stop());
  await log.start();
  maintenance.start();
  const endsAt = performance.now() + 4_000;
  while (performance.now() < endsAt) {
    await sql`insert into cache_invalidations (tags) select array['bot:' || n] from generate_series(1, 300) as n`;
    await pause(5);
  }
  expect(maintenance.size.horizons).toBeLessThan(30);
  expect(maintenance.size.dueEntries).toBeLessThanOrEqual(20_000);
  expect(asked).toBeLessThanOrEqual(3);
  expect(asked).toBeGreaterThan(0);
  await sql`truncate cache_invalidations`;
}, 30_000);
