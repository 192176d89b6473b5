import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import type postgres from 'postgres';

import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

interface Shown {
  readonly id: string;
  readonly version: number;
  readonly description: string;
}
interface Answer {
  readonly data: { readonly bot: Shown & { readonly organization: { readonly bots: readonly Shown[] } } };
}

/**
 * One query shows a bot twice: at first alone, then after its organization, whose row a lock holds back. A write
 * between the two would be seen by the second part alone.
 */
const QUERY = /* GraphQL */ `
  query Twice($id: ID!) {
    bot(id: $id) {
      id
      version
      description
      organization {
        bots {
          id
          version
          description
        }
      }
    }
  }
`;

describe.each(['with Redis', 'without Redis'])(
  '%s, an answer whose parts are read at different moments',
  (setting) => {
    let database: TestDatabase;
    let redis: RedisService;
    let admin: Redis;
    let app: TestApp;
    let token: string;
    let orgId: string;
    let ids: string[];

    beforeAll(async () => {
      [database, redis] = await Promise.all([createDatabase(), createRedis()]);
      admin = new Redis(redis.url);
      app = await startApp({
        DATABASE_URL: database.url,
        REDIS_URL: setting === 'with Redis' ? redis.url : 'off',
        REDIS_TIMEOUT_MS: '3000',
      });
    });
    beforeEach(async () => {
      orgId = await addOrganization(database.sql);
      ids = await addBots(database.sql, orgId, 2);
      ({ token } = await addUser(database.sql, { [orgId]: 'OWNER' }));
      await app.client(token).sendText('{ me { id } }', {});
    });
    afterAll(async () => {
      await app?.close();
      admin?.disconnect();
      await redis?.stop();
      await database?.drop();
    });

    const id = () => ids[0] as string;
    const ask = async (): Promise<Answer> => {
      const response = await fetch(app.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify({ query: QUERY, variables: { id: id() } }),
      });
      return (await response.json()) as Answer;
    };
    const again = async (how: string) => await app.metric('flovo_cache_executed_again_total', { how });

    /** Locks the organizations, so that their rows cannot be read until the end of the transaction. */
    async function lock(): Promise<{ readonly session: postgres.ReservedSql; end(): Promise<void> }> {
      const session = await database.sql.reserve();
      await session`begin`;
      await session`lock table organizations in access exclusive mode`;
      return {
        session,
        async end() {
          await session`commit`;
          session.release();
        },
      };
    }
    const waiting = async (count: number) => {
      await eventually(async () => {
        const [row] = await database.sql<{ count: number }[]>`
        select count(*)::int from pg_locks where not granted and relation = 'organizations'::regclass`;
        return row?.count === count;
      });
    };
    const changeBoth = async (text: string) => {
      await database.sql`update bots set description = ${text} where id = any (${ids}::uuid[])`;
    };
    const descriptionsOf = ({ data: { bot } }: Answer) => [
      bot.description,
      ...bot.organization.bots.map(({ description }) => description),
    ];

    test('is executed again if something was written between them, and shows the bots once', async () => {
      const before = await again('once more');
      const locked = await lock();
      const answering = ask();
      await waiting(1);
      await changeBoth('changed together');
      await locked.end();
      const answer = await answering;
      expect(descriptionsOf(answer)).toEqual(Array.from({ length: 3 }, () => 'changed together'));
      expect(await again('once more')).toBe(before + 1);
    });

    test('is executed once if nothing was written', async () => {
      const before = await again('once more');
      const locked = await lock();
      const answering = ask();
      await waiting(1);
      await locked.end();
      expect(new Set(descriptionsOf(await answering)).size).toBe(1);
      expect(await again('once more')).toBe(before);
    });

    test('is executed in one transaction if something is written in each execution', async () => {
      const before = await again('in one transaction');
      let locked = await lock();
      const answering = ask();
      for (let write = 1; write <= 4; write++) {
        await waiting(1);
        await changeBoth(`change ${write}`);
        // Nothing that this execution reads is a hit in the next.
        await admin.flushall();
        // The next execution must not read the organization before it is locked again: this lock is the next in turn.
        const next = lock();
        await waiting(2);
        await locked.end();
        locked = await next;
      }
      await waiting(1);
      await changeBoth('the last change');
      await locked.end();
      const shown = new Set(descriptionsOf(await answering));
      // The transaction takes its snapshot when it has locked its tables.
      expect([...shown]).toEqual(['the last change']);
      expect(await again('in one transaction')).toBe(before + 1);
      // The transaction has ended: nothing is left open.
      const [row] = await database.sql<{ count: number }[]>`
      select count(*)::int from pg_stat_activity where state like 'idle in transaction%' and datname = current_database()`;
      expect(row?.count).toBe(0);
    });

    test('of a mutation is never executed again', async () => {
      const body = {
        query: `mutation ($id: ID!) { updateBot(id: $id, input: { name: "renamed" }) { version organization { bots { version } } } }`,
        variables: { id: id() },
      };
      const locked = await lock();
      const answering = fetch(app.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: JSON.stringify(body),
      });
      await waiting(1);
      await changeBoth('changed meanwhile');
      await locked.end();
      expect((await answering).status).toBe(200);
      const [row] = await database.sql<{ version: number }[]>`select version from bots where id = ${id()}`;
      expect(row?.version).toBe(3);
    });
  },
);
