import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { addBots, addOrganization } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';
import { startTopology, type Topology, type TopologyKind } from '../support/topology.js';

/**
 * A write from outside, and two processes: the first loads the state after it, the second has the state before it in
 * Redis. The second ignores the entries of the log, so that only what the first does in Redis can keep it from the
 * old state.
 */
describe.each<TopologyKind>(['standalone', 'cluster'])('%s, after one process has shown a write', (kind) => {
  let database: TestDatabase;
  let redis: Topology;
  let first: TestCache;
  let second: TestCache;
  let orgId: string;
  let ids: string[];
  const opened: TestCache[] = [];

  const open = async (options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
    const cache = await openCache({
      databaseUrl: database.url,
      redis: redis.target,
      ...options,
    });
    opened.push(cache);
    await cache.isUp();
    return cache;
  };

  beforeAll(async () => {
    [database, redis] = await Promise.all([createDatabase(), startTopology(kind)]);
  });
  beforeEach(async () => {
    orgId = await addOrganization(database.sql);
    ids = await addBots(database.sql, orgId, 3);
    [first, second] = await Promise.all([open(), open({ deaf: true })]);
    // The bots are cached, and nothing else.
    await second.bot.readMany(ids);
    await eventually(async () => {
      const { loads } = second.tally;
      await second.bot.readMany(ids);
      return second.tally.loads === loads;
    });
  });
  afterEach(async () => {
    for (const cache of opened.splice(0)) await cache.close();
  });
  afterAll(async () => {
    await redis?.stop();
    await database?.drop();
  });

  const id = () => ids[0] as string;
  const rename = async (name: string, ...which: string[]) => {
    await database.sql`update bots set name = ${name} where id = any (${which}::uuid[])`;
  };

  test('no other process shows the state before it', async () => {
    await rename('new', id());
    const [details] = await first.botDetails.readMany([id()]);
    expect(details?.bot.name).toBe('new');
    expect(await second.nameOf(id())).toBe('new');
  });

  test('no other process shows another thing that the same transaction changed, as it was before', async () => {
    await rename('new', ...ids);
    await first.botDetails.readMany([id()]);
    expect((await second.bot.readMany(ids)).map((bot) => bot?.name)).toEqual(['new', 'new', 'new']);
  });

  test('no other process shows the state before an earlier write of something else', async () => {
    await rename('earlier', ids[1] as string);
    await rename('later', id());
    await first.botDetails.readMany([id()]);
    expect(await second.nameOf(ids[1] as string)).toBe('earlier');
  });

  test('it does not matter that the shown value was not stored', async () => {
    const holder = await open();
    const gate = holder.hold('botDetails', 'after');
    const held = holder.botDetails.readMany([id()]);
    await gate.reached;
    await rename('new', id());
    // It finds the lock taken, waits, and loads without filling.
    const [details] = await first.botDetails.readMany([id()]);
    expect(details?.bot.name).toBe('new');
    expect(await second.nameOf(id())).toBe('new');
    gate.open();
    await held;
  });

  test('it does not matter that the write was logged as a change of everything', async () => {
    await database.sql.begin(async (sql) => {
      await sql`alter table bots disable trigger user`;
      await sql`update bots set name = 'new' where id = any (${ids}::uuid[])`;
      await sql`select log_cache_invalidation(array['*'])`;
      await sql`alter table bots enable trigger user`;
    });
    await first.botDetails.readMany([id()]);
    expect((await second.bot.readMany(ids)).map((bot) => bot?.name)).toEqual(['new', 'new', 'new']);
  });

  test('it does not matter that so much was written that the load does not return it', async () => {
    for (let i = 0; i < 30; i++) await rename(`name ${i}`, ids[1] as string);
    await rename('new', ...ids);
    await first.botDetails.readMany([id()]);
    expect((await second.bot.readMany(ids)).map((bot) => bot?.name)).toEqual(['new', 'new', 'new']);
  });

  test('a writer that shows others in its row helps them, and still learns its own write from the log', async () => {
    const { cache, invalidation } = first;
    const before = cache.helping.since;
    const session = await database.sql.reserve();
    await session`begin`;
    await session`update bots set description = 'own' where id = ${id()}`;
    // This transaction begins later and ends earlier.
    await rename('by another', ids[1] as string);
    const [row] = await session<{ moment: string }[]>`select cache_moment_of_write(${before}) as moment`;
    await session`commit`;
    session.release();
    await invalidation.botChanged({ id: id(), orgId }, row?.moment);
    expect(await second.nameOf(ids[1] as string)).toBe('by another');
    await cache.invalidationLog.confirm();
    expect(cache.invalidationLog.accepts([`bot:${id()}`], before)).toBe(false);
  });

  test('values that have seen the write stay, however many processes help it', async () => {
    const third = await open();
    await rename('new', id());
    await first.cache.helping.confirm();
    await eventually(async () => {
      const { loads } = first.tally;
      expect(await first.nameOf(id())).toBe('new');
      return loads > 0 && first.tally.loads === loads;
    });
    const { loads } = first.tally;
    await third.cache.helping.confirm();
    expect(await third.nameOf(id())).toBe('new');
    expect(await first.nameOf(id())).toBe('new');
    expect([first.tally.loads, third.tally.loads]).toEqual([loads, 0]);
  });

  test('a process that starts outdates no value that has seen the writes in the log', async () => {
    const third = await open();
    await third.cache.helping.confirm();
    await third.bot.readMany(ids);
    expect(third.tally).toMatchObject({ hits: 3, loads: 0 });
  });

  test('a hundred writes of one thing are each shown by every process', async () => {
    for (let i = 0; i < 100; i++) {
      await rename(`name ${i}`, id());
      await first.cache.helping.confirm();
      expect(await first.nameOf(id())).toBe(`name ${i}`);
      expect(await second.nameOf(id())).toBe(`name ${i}`);
    }
  });

  test('statistics that a writer replaces hide no write that it has not seen', async () => {
    await Promise.all([first.botStats.readMany([id()]), second.botStats.readMany([id()])]);
    await eventually(async () => {
      const { loads } = second.tally;
      await second.botStats.readMany([id()]);
      return second.tally.loads === loads;
    });
    const add = async () => {
      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction, status, text)
        values (${id()}, ${randomUUID()}, 'contact', 'INBOUND', 'DELIVERED', 'text')`;
    };
    const total = async (cache: TestCache) => (await cache.botStats.readMany([id()]))[0]?.totalMessages;
    for (let i = 1; i <= 20; i++) {
      await add();
      if (i % 2 === 0) await first.botStatsChanged(id());
      else await first.cache.helping.confirm();
      expect(await total(first)).toBe(i);
      expect(await total(second)).toBe(i);
    }
  });
});
