import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { openCache, type TestCache, type TestCacheOptions } from '../support/test-cache.js';
import type { Topology } from '../support/topology.js';

const page = (orgId: string) => ({ orgId, page: 1, limit: 100, search: '' });

/**
 * Races between reads and invalidations. Gates force the worst order of each; every kind of Redis runs the same cases.
 *
 * The caches ignore the invalidation log, so generations alone must keep reads right.
 */
export function describeRaces(kind: string, start: () => Promise<Topology>): void {
  describe(`races on a ${kind} Redis, decided by generations without the invalidation log`, () => {
    let topology: Topology;
    let database: TestDatabase;
    let orgId: string;
    let botId: string;
    const caches: TestCache[] = [];

    beforeAll(async () => {
      [topology, database] = await Promise.all([start(), createDatabase()]);
      orgId = await addOrganization(database.sql);
    }, 60_000);

    afterAll(async () => {
      await database?.drop();
      await topology?.stop();
    });

    beforeEach(async () => {
      [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    });

    afterEach(async () => {
      for (const cache of caches.splice(0)) await cache.close();
      await Promise.all(topology.proxies.map(async (proxy) => await proxy.resume()));
    });

    /** The cache of another process. */
    const open = async (options: Partial<TestCacheOptions> = {}): Promise<TestCache> => {
      const cache = await openCache({
        databaseUrl: database.url,
        redis: topology.target,
        deaf: true,
        ...options,
      });
      caches.push(cache);
      await cache.isUp();
      return cache;
    };
    const write = async (name: string): Promise<void> => {
      await database.sql`update bots set name = ${name} where id = ${botId}`;
    };
    /** Makes a mutation; it resolves when the mutation is answered. */
    const rename = async (cache: TestCache, name: string): Promise<void> => {
      await write(name);
      await cache.invalidation.botChanged({ id: botId, orgId });
    };
    /** Waits until a cache has stored its loads; readers do not wait for fills. */
    const stored = async (
      cache: TestCache,
      read: () => Promise<unknown> = async () => await cache.nameOf(botId),
      values = 1,
    ): Promise<void> => {
      await eventually(async () => {
        const { hits } = cache.tally;
        await read();
        return cache.tally.hits === hits + values;
      });
    };

    test('a fill that began before an invalidation stores nothing', async () => {
      const [a, b] = [await open(), await open()];
      const gate = a.hold('bot', 'after');
      const early = a.nameOf(botId);
      await gate.reached;
      await rename(b, 'new');
      gate.open();
      expect(await early).toBe('bot 1');
      // Its fill was sent before this read, on the same connection.
      expect(await a.nameOf(botId)).toBe('new');
      expect(await b.nameOf(botId)).toBe('new');
      expect(a.tally.fills).toMatchObject({ outdated: 1 });
      await stored(a);
      expect(await a.nameOf(botId)).toBe('new');
    });

    test('a fill that began before an invalidation does not replace the value that was filled after it', async () => {
      const [a, b] = [await open(), await open()];
      const gate = a.hold('bot', 'after');
      const early = a.nameOf(botId);
      await gate.reached;
      await rename(b, 'new');
      await stored(b);
      gate.open();
      await early;
      const { hits } = a.tally;
      expect(await a.nameOf(botId)).toBe('new');
      expect(await b.nameOf(botId)).toBe('new');
      expect(a.tally.hits).toBe(hits + 1);
    });

    test('a reader that starts after the invalidation does not join an older load of its own process', async () => {
      const cache = await open();
      const gate = cache.hold('bot', 'after');
      const early = cache.nameOf(botId);
      await gate.reached;
      await rename(cache, 'new');
      expect(await cache.nameOf(botId)).toBe('new');
      gate.open();
      expect(await early).toBe('bot 1');
      expect(await cache.nameOf(botId)).toBe('new');
      expect(cache.tally.loads).toBe(2);
    });

    test('a reader that starts after the invalidation does not share an older reply of Redis', async () => {
      const [a, b] = [await open(), await open()];
      await stored(a);
      const { loads } = a.tally;
      const release = topology.proxies.map((proxy) => proxy.holdReplies());
      const early = a.nameOf(botId);
      await eventually(() => topology.proxies.some(({ heldReplies }) => heldReplies > 0));
      // The proxy holds the existing connections, also those of b.
      const c = await open();
      await rename(c, 'new');
      const late = a.nameOf(botId);
      release.forEach((letGo) => letGo());
      expect(await early).toBe('bot 1');
      expect(await late).toBe('new');
      expect(a.tally.loads).toBe(loads + 1);
      expect(await b.nameOf(botId)).toBe('new');
    });

    test('a reader joins a pending load if nothing was invalidated since its start', async () => {
      const cache = await open();
      const gate = cache.hold('bot', 'before');
      const readers = [cache.nameOf(botId)];
      await gate.reached;
      for (let i = 0; i < 20; i++) readers.push(cache.nameOf(botId));
      // All of them have joined the load once a later read of another key is answered.
      await cache.organization.readMany([orgId]);
      gate.open();
      expect(new Set(await Promise.all(readers))).toEqual(new Set(['bot 1']));
      expect(cache.tally).toMatchObject({ loads: 2, joins: 20 });
    });

    test('of a batch, only invalidated values are loaded again', async () => {
      const cache = await open();
      const [other] = (await addBots(database.sql, orgId, 1)) as [string];
      const gate = cache.hold('bot', 'after');
      const early = cache.bot.readMany([botId, other]);
      await gate.reached;
      await rename(cache, 'new');
      const late = cache.bot.readMany([botId, other]);
      await cache.organization.readMany([orgId]);
      gate.open();
      expect((await early).map((bot) => bot?.name)).toEqual(['bot 1', 'bot 1']);
      expect((await late).map((bot) => bot?.name)).toEqual(['new', 'bot 1']);
      expect(cache.tally.values).toBe(2 + 1 + 1);
    });

    test('a failed load rejects for every reader that joined it, is not cached, and the next read loads again', async () => {
      const cache = await open();
      const gate = cache.hold('bot', 'before');
      cache.fail('bot', new Error('the database is on fire'));
      const readers = [cache.nameOf(botId)];
      await gate.reached;
      for (let i = 0; i < 5; i++) readers.push(cache.nameOf(botId));
      await cache.organization.readMany([orgId]);
      gate.open();
      const outcomes = await Promise.allSettled(readers);
      expect(outcomes).toHaveLength(6);
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({
          status: 'rejected',
          reason: { message: 'the database is on fire' },
        });
      }
      expect((await topology.keys()).filter((key) => key === `bot:${topology.idInKey(botId)}`)).toEqual([]);
      expect(await cache.nameOf(botId)).toBe('bot 1');
    });

    test('after a failed load the next reader fills the cache without waiting for the lock', async () => {
      const cache = await open();
      const gate = cache.hold('bot', 'before');
      cache.fail('bot', new Error('the database is on fire'));
      const reading = cache.nameOf(botId);
      await gate.reached;
      const lock = `bot:${topology.idInKey(botId)}:lock`;
      // Without a TTL the lock does not expire.
      expect(await topology.admin.pexpire(lock, 600_000)).toBe(1);
      gate.open();
      await expect(reading).rejects.toThrow('on fire');
      await eventually(async () => (await topology.admin.exists(lock)) === 0);
      await stored(cache);
    });

    test('the creation of a bot invalidates its cached absence', async () => {
      const [a, b] = [await open(), await open()];
      const id = randomUUID();
      const readAll = async (cache: TestCache) => [
        (await cache.bot.readMany([id]))[0] ?? null,
        (await cache.botStats.readMany([id]))[0] ?? null,
        (await cache.botDetails.readMany([id]))[0] ?? null,
      ];
      expect(await readAll(a)).toEqual([null, null, null]);
      await stored(a, async () => expect(await readAll(a)).toEqual([null, null, null]), 3);
      await database.sql`insert into bots (id, org_id, name) values (${id}, ${orgId}, 'newborn')`;
      await b.invalidation.botChanged({ id, orgId });
      expect(await readAll(a)).toEqual([
        expect.objectContaining({ name: 'newborn' }),
        expect.objectContaining({ totalMessages: 0 }),
        expect.objectContaining({ bot: expect.objectContaining({ name: 'newborn' }) }),
      ]);
    });

    test("after one process's invalidation another process's next read is right, for every kind of value", async () => {
      const [a, b] = [await open(), await open()];
      const { id: userId } = await addUser(database.sql);
      const readAll = async (cache: TestCache) => ({
        bot: (await cache.bot.readMany([botId]))[0]?.name,
        details: (await cache.botDetails.readMany([botId]))[0]?.bot.name,
        totals: (await cache.botDetails.readMany([botId]))[0]?.stats.totalMessages,
        stats: (await cache.botStats.readMany([botId]))[0]?.totalMessages,
        list: (await cache.botPage.readMany([page(orgId)]))[0]?.items.some(({ name }) => name === 'all new'),
        org: (await cache.organizationBots.readMany([orgId]))[0]?.some(({ name }) => name === 'all new'),
        organization: (await cache.organization.readMany([orgId]))[0]?.name,
      });
      await stored(b, async () => await readAll(b), 7);
      const before = await readAll(b);
      expect(before).toMatchObject({ bot: 'bot 1', stats: 0, list: false, organization: 'Acme' });

      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
        values (${botId}, 'c', 'c', 'INBOUND')`;
      await a.botStatsChanged(botId);
      expect(await readAll(b)).toEqual({ ...before, stats: 1, totals: 1 });

      await database.sql`update organizations set name = 'Acme 2' where id = ${orgId}`;
      await rename(a, 'all new');
      expect(await readAll(b)).toEqual({
        bot: 'all new',
        details: 'all new',
        totals: 1,
        stats: 1,
        list: true,
        org: true,
        organization: 'Acme 2',
      });
      await database.sql`update organizations set name = 'Acme' where id = ${orgId}`;
      await a.invalidation.botChanged({ id: botId, orgId });

      await b.principal.readMany([userId]);
      await database.sql`insert into memberships (user_id, org_id, role) values (${userId}, ${orgId}, 'OWNER')`;
      await a.cache.invalidator.invalidate([`user:${userId}`]);
      expect(await b.principal.readMany([userId])).toEqual([
        expect.objectContaining({ memberships: [{ orgId, role: 'OWNER' }] }),
      ]);
    });

    describe('statistics that are replaced instead of dropped', () => {
      const add = async (): Promise<void> => {
        await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
          values (${botId}, 'c', 'c', 'INBOUND')`;
      };
      const totals = async (cache: TestCache) => [
        (await cache.botStats.readMany([botId]))[0]?.totalMessages,
        (await cache.botDetails.readMany([botId]))[0]?.stats.totalMessages,
      ];
      /** Stores the statistics. */
      const warm = async (cache: TestCache): Promise<void> => {
        await stored(cache, async () => await cache.botStats.readMany([botId]));
      };
      const holdFirst = () => {
        const holds = topology.proxies.map((proxy) => proxy.hold((text) => /"totalMessages":1\b/.test(text)));
        return {
          caught: Promise.race(holds.map(async ({ caught }) => await caught)),
          release: () => holds.forEach((hold) => hold.release()),
        };
      };

      test('are a hit after a write, and show it', async () => {
        const [a, b] = [await open(), await open()];
        await warm(a);
        for (let count = 1; count <= 3; count++) {
          await add();
          await a.botStatsChanged(botId);
          const { loads } = b.tally;
          expect((await b.botStats.readMany([botId]))[0]?.totalMessages).toBe(count);
          expect(b.tally.loads).toBe(loads);
          expect(await totals(b)).toEqual([count, count]);
        }
        expect(a.tally.replacements).toEqual(['replaced', 'replaced', 'replaced']);
      });

      test('are not replaced by older ones that the network delivers late', async () => {
        const [a, b] = [await open(), await open()];
        await warm(a);
        await add();
        const replacement = holdFirst();
        const first = a.botStatsChanged(botId);
        await replacement.caught;
        await add();
        await b.botStatsChanged(botId);
        expect(await totals(b)).toEqual([2, 2]);
        replacement.release();
        await first;
        expect(a.tally.replacements).toEqual(['kept']);
        expect(await totals(a)).toEqual([2, 2]);
        expect(await totals(b)).toEqual([2, 2]);
      });

      test('are not stored by a late replacement after they were dropped', async () => {
        const [a, b] = [await open(), await open()];
        await warm(a);
        await add();
        const replacement = holdFirst();
        const first = a.botStatsChanged(botId);
        await replacement.caught;
        await add();
        await b.invalidation.botChanged({ id: botId, orgId });
        replacement.release();
        await first;
        expect(a.tally.replacements).toEqual(['removed']);
        expect(await totals(a)).toEqual([2, 2]);
        expect(await totals(b)).toEqual([2, 2]);
      });

      test('are not replaced by a load that began before the write', async () => {
        const [a, b] = [await open(), await open()];
        const gate = a.hold('botStats', 'after');
        const early = a.botStats.readMany([botId]);
        await gate.reached;
        await add();
        await b.botStatsChanged(botId);
        await warm(b);
        gate.open();
        expect((await early)[0]?.totalMessages).toBe(0);
        expect(await totals(a)).toEqual([1, 1]);
        expect(await totals(b)).toEqual([1, 1]);
      });

      test('are loaded again if none were cached', async () => {
        const [a, b] = [await open(), await open()];
        await add();
        await a.botStatsChanged(botId);
        expect(await totals(b)).toEqual([1, 1]);
      });

      test('are dropped when the bot is gone', async () => {
        const [a, b] = [await open(), await open()];
        await warm(a);
        await database.sql`delete from bots where id = ${botId}`;
        await a.botStatsChanged(botId);
        expect(await b.botStats.readMany([botId])).toEqual([null]);
      });
    });

    test('a refresh during a write does not bring the old value back', async () => {
      const [a, b] = [await open(), await open()];
      await stored(a);
      const gate = a.hold('bot', 'after');
      const refreshing = a.bot.refresh?.([botId]);
      await gate.reached;
      await rename(b, 'new');
      await stored(b);
      gate.open();
      expect(await refreshing).toBe(1);
      const { hits } = a.tally;
      expect(await a.nameOf(botId)).toBe('new');
      expect(await b.nameOf(botId)).toBe('new');
      expect(a.tally.hits).toBe(hits + 1);
    });

    test('a refresh that began before an invalidation stores nothing after it', async () => {
      const [a, b] = [await open(), await open()];
      await stored(a);
      const gate = a.hold('bot', 'after');
      const refreshing = a.bot.refresh?.([botId]);
      await gate.reached;
      await rename(b, 'new');
      gate.open();
      await refreshing;
      expect(await b.nameOf(botId)).toBe('new');
      expect(b.tally.loads).toBe(1);
    });

    test('two processes refresh a value once, and readers hit the stored one meanwhile', async () => {
      const [a, b] = [await open(), await open()];
      await stored(a);
      const gate = a.hold('bot', 'before');
      const refreshing = a.bot.refresh?.([botId]);
      await gate.reached;
      expect(await b.bot.refresh?.([botId])).toBe(0);
      const { hits, loads } = b.tally;
      expect(await b.nameOf(botId)).toBe('bot 1');
      expect(b.tally).toMatchObject({ hits: hits + 1, loads });
      gate.open();
      expect(await refreshing).toBe(1);
    });

    test('a reader that misses a value joins its refresh', async () => {
      const cache = await open();
      await stored(cache);
      const gate = cache.hold('bot', 'before');
      const refreshing = cache.bot.refresh?.([botId]);
      await gate.reached;
      const { loads, joins } = cache.tally;
      expect(await topology.admin.del(`bot:${topology.idInKey(botId)}`)).toBe(1);
      const reading = cache.nameOf(botId);
      await eventually(() => cache.tally.joins === joins + 1);
      gate.open();
      expect(await reading).toBe('bot 1');
      expect(await refreshing).toBe(1);
      expect(cache.tally.loads).toBe(loads);
    });

    test('after a failed refresh the value stays, and the next refresh need not wait for a lock', async () => {
      const cache = await open();
      await stored(cache);
      cache.fail('bot', new Error('the database is on fire'));
      await expect(cache.bot.refresh?.([botId])).rejects.toThrow('on fire');
      const { hits } = cache.tally;
      expect(await cache.nameOf(botId)).toBe('bot 1');
      expect(cache.tally.hits).toBe(hits + 1);
      expect(await cache.bot.refresh?.([botId])).toBe(1);
    });

    test('a fill that the network delivers after the invalidation stores nothing', async () => {
      const [a, b] = [await open(), await open()];
      await write('on its way');
      const holds = topology.proxies.map((proxy) => proxy.hold((text) => text.includes('on its way')));
      expect(await a.nameOf(botId)).toBe('on its way');
      await Promise.race(holds.map(async ({ caught }) => await caught));
      await rename(b, 'new');
      for (const hold of holds) hold.release();
      expect(await a.nameOf(botId)).toBe('new');
      expect(await b.nameOf(botId)).toBe('new');
    });

    test('an invalidation that the network delivers late removes newer values and does no other harm', async () => {
      const [a, b, hasty] = [await open(), await open(), await open({ timeoutMs: 50 })];
      await a.nameOf(botId);
      const holds = topology.proxies.map((proxy) => proxy.hold((text) => /\r\nunlink\r\n/i.test(text)));
      await rename(hasty, 'new');
      await Promise.race(holds.map(async ({ caught }) => await caught));
      expect(hasty.tally.timeouts).toBe(1);
      await rename(b, 'newer');
      await stored(a);
      for (const hold of holds) hold.release();
      await hasty.isUp();
      expect(await a.nameOf(botId)).toBe('newer');
      expect(await b.nameOf(botId)).toBe('newer');
    });

    test('an evicted generation never makes an old value valid again', async () => {
      const cache = await open();
      await stored(cache);
      const generation = `bot:${topology.idInKey(botId)}:gen`;
      const [token] = [await topology.admin.get(generation)];
      expect(token).toMatch(/^[\w-]{16}$/);
      await write('new');
      expect(await topology.admin.del(generation)).toBe(1);
      expect(await cache.nameOf(botId)).toBe('new');
      await stored(cache);
      expect(await topology.admin.get(generation)).not.toBe(token);
      expect(await cache.nameOf(botId)).toBe('new');
    });

    test('a load whose generation is evicted meanwhile stores nothing', async () => {
      const cache = await open();
      const gate = cache.hold('bot', 'after');
      const early = cache.nameOf(botId);
      await gate.reached;
      await write('new');
      expect(await topology.admin.del(`bot:${topology.idInKey(botId)}:gen`)).toBe(1);
      gate.open();
      expect(await early).toBe('bot 1');
      expect(await cache.nameOf(botId)).toBe('new');
    });

    test('the eviction of one of two generations outdates a value that depends on both', async () => {
      const cache = await open();
      await stored(cache, async () => await cache.botDetails.readMany([botId]));
      await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
        values (${botId}, 'c', 'c', 'INBOUND')`;
      expect(await topology.admin.del(`bot:${topology.idInKey(botId)}:stats:gen`)).toBe(1);
      expect((await cache.botDetails.readMany([botId]))[0]?.stats.totalMessages).toBe(1);
    });

    test('an invalidation outdates list pages whose index was evicted', async () => {
      const cache = await open();
      await stored(cache, async () => await cache.botPage.readMany([page(orgId)]));
      await topology.admin.del(`org:${topology.idInKey(orgId)}:index`);
      await rename(cache, 'unlisted');
      const [list] = await cache.botPage.readMany([page(orgId)]);
      expect(list?.items.map(({ name }) => name)).toContain('unlisted');
    });

    test('values of many entities are read, stored and invalidated in one batch without being mixed up', async () => {
      const cache = await open();
      const ids = await addBots(database.sql, orgId, 40);
      const mixed = [...ids, randomUUID(), botId, randomUUID()];
      const expected = [...ids.map((_, i) => `bot ${i + 1}`), undefined, 'bot 1', undefined];
      const read = async () => (await cache.bot.readMany(mixed)).map((bot) => bot?.name);
      expect(await read()).toEqual(expected);
      expect(cache.tally).toMatchObject({ loads: 1, values: 43 });
      await stored(cache, async () => expect(await read()).toEqual(expected), 43);
      const { loads, values, hits } = cache.tally;
      await rename(cache, 'new');
      expect((await read())[41]).toBe('new');
      expect(cache.tally).toMatchObject({ loads: loads + 1, values: values + 1, hits: hits + 42 });
    });
  });
}
