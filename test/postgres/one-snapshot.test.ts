import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eq, sql } from 'drizzle-orm';

import {
  connectDatabase,
  type Database,
  type DatabaseConnection,
  type DatabaseOptions,
} from '../../src/db/client.js';
import { bots } from '../../src/db/tables.js';
import { createRepositories, repositoriesOn, type Repositories } from '../../src/resources.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { startPgBouncer, type PgBouncer } from '../support/pgbouncer.js';
import { createDatabase, type TestDatabase } from '../support/services.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const STATEMENT_TIMEOUT_MS = 600;
/** The limit of the work, the limit of a silent connection, and room for a busy machine (ms). */
const FAILED_WITHIN_MS = STATEMENT_TIMEOUT_MS + 1_000 + 2_000;

class Masked extends Error {}

const never = async (): Promise<never> => await new Promise<never>(() => {});

describe.each([
  ['PostgreSQL', false],
  ['PgBouncer in transaction mode', true],
])('reads in one snapshot through %s', (_, isPooled) => {
  let database: TestDatabase;
  let bouncer: PgBouncer | undefined;
  let proxy: TcpProxy;
  let connection: DatabaseConnection;
  let repositories: Repositories;
  let sent: string[];
  let orgId: string;
  let ids: string[];

  const connect = (settings: Partial<DatabaseOptions> = {}): DatabaseConnection =>
    connectDatabase({
      url: proxy.url,
      poolMax: 1,
      statementTimeoutMs: STATEMENT_TIMEOUT_MS,
      onStatement: (statement) => sent.push(statement),
      toError: ({ message, cause }) => new Masked(message, { cause }),
      ...settings,
    });

  beforeEach(async () => {
    database = await createDatabase();
    bouncer = isPooled ? await startPgBouncer(database.url) : undefined;
    proxy = await TcpProxy.before(bouncer?.url ?? database.url);
    orgId = await addOrganization(database.sql);
    ids = await addBots(database.sql, orgId, 3);
    sent = [];
    connection = connect();
    repositories = createRepositories(connection.db);
  });

  afterEach(async () => {
    await connection?.close();
    proxy?.close();
    await bouncer?.stop();
    await database?.drop();
  });

  /** The sessions of the database that have a transaction or a statement under way, beside the asking one. */
  const busySessions = async () =>
    await database.sql<{ state: string; query: string }[]>`
    select state, query from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' and xact_start is not null`;

  /** Checks that the only connection of the pool is free, and that nothing is left in the database. */
  const expectFree = async (): Promise<void> => {
    expect(await repositories.bots.findMany(ids, '')).toHaveLength(3);
    const [state] = await connection.db.execute<{ isolation: string }>(
      sql`select current_setting('transaction_isolation') as isolation`,
    );
    expect(state).toEqual({ isolation: 'read committed' });
    await eventually(async () => (await busySessions()).length === 0);
  };

  const sleepFor = async (db: Database, seconds: number): Promise<unknown> =>
    await db.execute(sql`select pg_sleep(${seconds}::float)`);

  const endSessions = async (): Promise<void> => {
    await database.sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and application_name in ('flovo-bots', '')
        and query not like '%pg_stat_activity%' and backend_type = 'client backend'`;
  };

  test('all repositories see one moment, whatever is written meanwhile', async () => {
    const user = await addUser(database.sql, { [orgId]: 'OWNER' });
    const page = { orgId, page: 1, limit: 10, search: '' };
    const messages = { first: 5, after: null, conversationId: null, direction: null, status: null };
    const read = async (from: Repositories) =>
      await Promise.all([
        from.bots.findMany(ids, ''),
        from.botPages.findPages([page, { ...page, search: 'bot' }], ''),
        from.botPages.findByOrganizations([orgId], 10, ''),
        from.stats.findMany(ids, ''),
        from.stats.findDetails(ids, ''),
        from.organizations.findMany([orgId], ''),
        from.organizations.findStats([orgId], ''),
        from.principals.findMany([user.id], ''),
        from.messagePages.findPages(
          ids.map((botId) => ({ ...messages, botId })),
          '',
        ),
      ]);
    /** Without the time of computation. */
    const seenIn = (values: unknown): string =>
      JSON.stringify(values, (key, value: unknown) => (key === 'computedAt' ? undefined : value));
    // Once before, so that a statement that its repository prepares when it is first needed is there.
    await read(repositories);
    const [first, second] = await connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      const seen = await read(here);
      await database.sql.begin(async (tx) => {
        await tx`update bots set name = 'renamed' where org_id = ${orgId}`;
        await tx`update organizations set name = 'renamed' where id = ${orgId}`;
        await tx`delete from memberships where org_id = ${orgId}`;
        await tx`insert into messages (bot_id, conversation_id, contact_id, direction)
          select id, 'c', 'p', 'INBOUND' from bots where org_id = ${orgId}`;
      });
      return [seen, await read(here)];
    });
    expect(seenIn(second)).toBe(seenIn(first));
    expect(new Set(first?.flat().map(({ snapshot }) => snapshot))).toHaveProperty('size', 1);
    const after = await read(repositories);
    expect(seenIn(after)).not.toBe(seenIn(first));
    expect(after[0].map(({ value }) => value?.name)).toEqual(['renamed', 'renamed', 'renamed']);
    await expectFree();
  });

  test('a table that somebody truncates meanwhile does not look empty', async () => {
    await database.sql`insert into messages (bot_id, conversation_id, contact_id, direction)
      select id, 'c', 'p', 'INBOUND' from bots where org_id = ${orgId}`;
    let truncation: Promise<unknown> | undefined;
    const stats = await connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      await here.bots.findMany(ids, '');
      truncation = database.sql`truncate bot_stats`.execute();
      await Promise.race([
        truncation,
        eventually(async () => {
          const waiting = await database.sql`select from pg_stat_activity
            where query = 'truncate bot_stats' and wait_event_type = 'Lock'`;
          return waiting.length === 1;
        }),
      ]);
      return await here.stats.findMany(ids, '');
    });
    expect(stats.map(({ value }) => value?.totalMessages)).toEqual([1, 1, 1]);
    await truncation;
    await expectFree();
  });

  test('each statement is counted, and none runs outside of the transaction', async () => {
    await connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      await Promise.all([here.bots.findMany(ids, ''), here.organizations.findMany([orgId], '')]);
    });
    await expectFree();
    expect(sent.slice(0, 5).map((statement) => statement.slice(0, 6))).toEqual([
      'begin ',
      'lock t',
      'select',
      'select',
      'commit',
    ]);
  });

  test('nothing can be written, and no transaction begun', async () => {
    const write = connection.inOneSnapshot(
      async (db) => await db.update(bots).set({ name: 'never' }).where(eq(bots.orgId, orgId)),
    );
    await expect(write).rejects.toThrow();
    const nested = connection.inOneSnapshot(async (db) => await db.transaction(async () => await never()));
    await expect(nested).rejects.toThrow('is a transaction already');
    await expectFree();
    expect((await repositories.bots.findMany(ids, '')).map(({ value }) => value?.name)).not.toContain(
      'never',
    );
  });

  test('if the work fails, its error is thrown, and the connection is free', async () => {
    const failed = connection.inOneSnapshot(async (db) => {
      await repositoriesOn(db, repositories).bots.findMany(ids, '');
      throw new RangeError('of the work');
    });
    await expect(failed).rejects.toThrow(new RangeError('of the work'));
    await expectFree();
    const atOnce = connection.inOneSnapshot(() => {
      throw new RangeError('at once');
    });
    await expect(atOnce).rejects.toThrow(new RangeError('at once'));
    await expectFree();
  });

  test('work that ends while statements run or wait does not keep the connection', async () => {
    const left: Promise<unknown>[] = [];
    const startedAt = performance.now();
    const failed = connection.inOneSnapshot(async (db) => {
      left.push(sleepFor(db, 0.5));
      await eventually(async () => (await busySessions()).some(({ query }) => query.includes('pg_sleep')));
      left.push(repositoriesOn(db, repositories).bots.findMany(ids, ''));
      throw new RangeError('of the work');
    });
    const outcomes = failed.then(
      async () => [],
      async () => await Promise.allSettled(left),
    );
    await expect(failed).rejects.toThrow(new RangeError('of the work'));
    expect(performance.now() - startedAt).toBeLessThan(FAILED_WITHIN_MS);
    expect((await outcomes).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(sent.filter((statement) => statement.startsWith('select'))).toHaveLength(1);
    await expectFree();
  });

  test('a client that is used after the end executes nothing', async () => {
    const late = await connection.inOneSnapshot(async (db) => await Promise.resolve({ db }));
    sent.length = 0;
    await expect(repositoriesOn(late.db, repositories).bots.findMany(ids, '')).rejects.toThrow('has ended');
    expect(sent).toEqual([]);
    await expectFree();
  });

  test('work that never ends is given up within the limit of one statement', async () => {
    const startedAt = performance.now();
    await expect(connection.inOneSnapshot(never)).rejects.toThrow(Masked);
    expect(performance.now() - startedAt).toBeLessThan(FAILED_WITHIN_MS);
    await expectFree();
  });

  test('many short statements together have the limit of one, and the running one is cancelled', async () => {
    const startedAt = performance.now();
    const slow = connection.inOneSnapshot(async (db) => {
      for (;;) await sleepFor(db, STATEMENT_TIMEOUT_MS / 2_500);
    });
    await expect(slow).rejects.toThrow('The database took longer than allowed; try again later');
    expect(performance.now() - startedAt).toBeLessThan(FAILED_WITHIN_MS);
    await expectFree();
  });

  test('PostgreSQL itself ends a statement that runs too long, and all later ones fail alike', async () => {
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`lock table bots in access exclusive mode`;
    const outcomes = await connection
      .inOneSnapshot(async (db) => {
        const here = repositoriesOn(db, repositories);
        return await Promise.allSettled([
          here.bots.findMany(ids, ''),
          here.organizations.findMany([orgId], ''),
        ]);
      })
      .catch((error: unknown) => [{ status: 'rejected', reason: error }]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ reason: expect.any(Masked) });
    await eventually(async () =>
      (await busySessions()).every(({ state }) => state === 'idle in transaction'),
    );
    await lock`rollback`;
    lock.release();
    await expectFree();
  });

  test('after a failed statement all later ones fail with its error', async () => {
    const outcomes = await connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      return await Promise.allSettled([
        here.bots.findMany(['no uuid'], ''),
        here.bots.findMany(ids, ''),
        here.organizations.findMany([orgId], ''),
      ]);
    });
    const reasons = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined));
    expect(reasons[0]).toMatchObject({ cause: { code: '22P02' } });
    expect(new Set(reasons).size).toBe(1);
    await expectFree();
  });

  test('if the connection is lost between two statements, the second is not executed on another', async () => {
    const outcome = connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      await here.bots.findMany(ids, '');
      await endSessions();
      sent.length = 0;
      await eventually(async () => (await busySessions()).length === 0);
      return await here.bots.findMany(ids, '');
    });
    await expect(outcome).rejects.toThrow(Masked);
    await expectFree();
  });

  test('if the connection is lost during a statement, the work is not repeated', async () => {
    let times = 0;
    const outcome = connection.inOneSnapshot(async (db) => {
      times += 1;
      const sleeping = sleepFor(db, 5);
      await eventually(async () => (await busySessions()).some(({ query }) => query.includes('pg_sleep')));
      await endSessions();
      return await sleeping;
    });
    await expect(outcome).rejects.toThrow(Masked);
    expect(times).toBe(1);
    await expectFree();
  });

  test('an idle connection that turns out to be lost is replaced before the work begins', async () => {
    await repositories.bots.findMany(ids, '');
    await endSessions();
    const found = await connection.inOneSnapshot(
      async (db) => await repositoriesOn(db, repositories).bots.findMany(ids, ''),
    );
    expect(found).toHaveLength(3);
    await expectFree();
  });

  test('a connection that gives no reply is given up within the limit', async () => {
    const startedAt = performance.now();
    const outcome = connection.inOneSnapshot(async (db) => {
      const here = repositoriesOn(db, repositories);
      await here.bots.findMany(ids, '');
      proxy.abandon();
      return await here.bots.findMany(ids, '');
    });
    await expect(outcome).rejects.toThrow(Masked);
    expect(performance.now() - startedAt).toBeLessThan(FAILED_WITHIN_MS);
    expect(await repositories.bots.findMany(ids, '')).toHaveLength(3);
    // The other side of the connection does not know that it was given up. PostgreSQL ends it by the transaction's limit.
    await eventually(async () => (await busySessions()).length === 0);
  });

  test('the result does not wait for the end of the transaction', async () => {
    const startedAt = performance.now();
    const found = await connection.inOneSnapshot(async (db) => {
      const rows = await repositoriesOn(db, repositories).bots.findMany(ids, '');
      proxy.abandon();
      return rows;
    });
    expect(found).toHaveLength(3);
    // By then nobody would have noticed that the connection gives no reply.
    expect(performance.now() - startedAt).toBeLessThan(STATEMENT_TIMEOUT_MS);
    await expectFree();
  });

  test('snapshots leave connections to reads, and who waits too long for one gets an error', async () => {
    const large = connect({ poolMax: 4, poolTimeoutMs: 1_000, statementTimeoutMs: 20_000 });
    try {
      let end = (): void => {};
      const ended = new Promise<void>((resolve) => (end = resolve));
      const begun = Array.from({ length: 3 }, () => {
        let begin = (): void => {};
        const running = new Promise<void>((resolve) => (begin = resolve));
        const whole = large.inOneSnapshot(async () => {
          begin();
          await ended;
        });
        return { running, whole };
      });
      await Promise.all(begun.map(async ({ running, whole }) => await Promise.race([running, whole])));
      const tooMany = large.inOneSnapshot(async () => await Promise.resolve());
      await expect(tooMany).rejects.toThrow('All connections to the database are in use; try again later');
      expect(await createRepositories(large.db).bots.findMany(ids, '')).toHaveLength(3);
      end();
      await Promise.all(begun.map(async ({ whole }) => await whole));
    } finally {
      await large.close();
    }
  });
});
