import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type postgres from 'postgres';

import { PostgresHost } from '../coherence/postgres-host.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization } from '../support/people.js';
import { createRedis, type RedisService } from '../support/services.js';
import { openCache, type TestCache } from '../support/test-cache.js';

/** A separate PostgreSQL, because an old transaction is in the snapshots of all databases of its server. */

const WRITES = 5_000;
const KEEP_ENTRIES = 1_000;
const PRUNE_EVERY_MS = 250;

let postgresHost: PostgresHost;
let redis: RedisService;
let sql: postgres.Sql;
let cache: TestCache;
let abandoned: string;
let untouched: string;

beforeAll(async () => {
  [postgresHost, redis] = await Promise.all([
    PostgresHost.start({ max_prepared_transactions: '5', synchronous_commit: 'off' }),
    createRedis(),
  ]);
  ({ sql } = postgresHost);
  const orgId = await addOrganization(sql);
  [abandoned, untouched] = (await addBots(sql, orgId, 2)) as [string, string];
  await sql`insert into bots (org_id, name) select ${orgId}, 'written ' || n from generate_series(1, 500) as n`;
  cache = await openCache({
    databaseUrl: postgresHost.url,
    redis: { kind: 'standalone', url: redis.url },
    maintains: true,
    logRetention: { keepEntries: KEEP_ENTRIES, pruneEveryMs: PRUNE_EVERY_MS },
  });
  await cache.isUp();
}, 60_000);

afterAll(async () => {
  await cache?.close();
  await redis?.stop();
  await postgresHost?.drop();
});

/** Makes about 1,000 updates a second, one per transaction, of many rows: updates of one row would get slower and slower. */
const write = async (count: number): Promise<void> => {
  await sql.unsafe(`
    do $$
    declare ids uuid[] := array(select id from bots where name like 'written%');
    begin
      for i in 1..${count} loop
        update bots set description = md5(random()::text) where id = ids[1 + i % cardinality(ids)];
        commit;
        perform pg_sleep(0.0005);
      end loop;
    end $$`);
};

test('while a prepared transaction stays open, the log and memory stay bounded, and cached values are served', async () => {
  const session = await sql.reserve();
  await session`begin`;
  await session`update bots set name = 'abandoned' where id = ${abandoned}`;
  await session`prepare transaction 'abandoned'`;
  session.release();
  let maxEntries = 0;
  const watching = new AbortController();
  const watch = (async () => {
    while (!watching.signal.aborted) {
      const [row] = await sql<[{ count: number }]>`select count(*)::int as count from cache_invalidations`;
      maxEntries = Math.max(maxEntries, row.count);
      expect(await cache.nameOf(untouched)).toBe('bot 2');
      expect(await cache.nameOf(abandoned)).toBe('bot 1');
      await pause(5);
    }
  })();
  await write(WRITES);
  const { hits, misses } = cache.tally;
  watching.abort();
  await watch;
  // The entries to keep, those written since the last prune, and those written during a prune.
  expect(maxEntries).toBeLessThan(2.5 * KEEP_ENTRIES);
  expect(cache.cache.invalidationLog.rememberedTags).toBeLessThan(1_500);
  // Values older than the remaining entries are refused; others are hits.
  expect(hits).toBeGreaterThan(misses);
  expect(hits).toBeGreaterThan(50);
  await sql.unsafe(`commit prepared 'abandoned'`);
  await eventually(async () => (await cache.nameOf(abandoned)) === 'abandoned', 2_000);
  const hitsBefore = cache.tally.hits;
  await eventually(async () => {
    await cache.nameOf(untouched);
    return cache.tally.hits > hitsBefore;
  });
}, 60_000);
