import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, createRedis, type RedisService, type TestDatabase } from '../support/services.js';

const SEARCH = 'query ($orgId: ID!, $search: String) { bots(orgId: $orgId, search: $search) { total } }';
const ME = '{ me { id } }';

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: { readonly data?: unknown; readonly errors?: readonly { extensions: { code: string } }[] };
}

/** While the table of bots is locked, whoever reads it waits in PostgreSQL, and what the others do can be observed. */
describe('more work than can be done', () => {
  let database: TestDatabase;
  let redis: RedisService;
  let app: TestApp;
  let orgId: string;
  let greedy: string;
  let other: string;
  const release: (() => Promise<void>)[] = [];

  beforeEach(async () => {
    [database, redis] = await Promise.all([createDatabase(), createRedis()]);
    orgId = await addOrganization(database.sql);
    await addBots(database.sql, orgId, 3);
    const otherOrgId = await addOrganization(database.sql);
    ({ token: greedy } = await addUser(database.sql, { [orgId]: 'VIEWER' }));
    ({ token: other } = await addUser(database.sql, { [otherOrgId]: 'VIEWER' }));
  });

  afterEach(async () => {
    for (const each of release.splice(0)) await each();
    await app?.close();
    await redis?.stop();
    await database?.drop();
  });

  const start = async (settings: Record<string, string> = {}) => {
    app = await startApp({ DATABASE_URL: database.url, REDIS_URL: redis.url, ...settings });
  };

  const lockBots = async () => {
    const lock = await database.sql.reserve();
    await lock`begin`;
    await lock`lock table bots in access exclusive mode`;
    let isHeld = true;
    const end = async () => {
      if (!isHeld) return;
      isHeld = false;
      await lock`rollback`;
      lock.release();
    };
    release.push(end);
    return end;
  };

  const send = async (
    token: string | undefined,
    query: string,
    variables: object = {},
    { headers = {}, signal }: { headers?: Record<string, string>; signal?: AbortSignal } = {},
  ): Promise<Answer> => {
    const response = await fetch(app.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: JSON.stringify({ query, variables }),
      signal: signal ?? null,
    });
    return {
      status: response.status,
      headers: response.headers,
      body: (await response.json()) as Answer['body'],
    };
  };

  /** Searches for texts that were not searched for before. */
  const searches = (token: string, count: number, from = 0): Promise<Answer>[] =>
    Array.from(
      { length: count },
      async (_, i) => await send(token, SEARCH, { orgId, search: `text ${from + i}` }),
    );

  /** Statements that wait for the lock. */
  const blocked = async (): Promise<number> => {
    const [row] = await database.sql<{ count: number }[]>`
      select count(*)::int as count from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`;
    return row?.count ?? 0;
  };

  const codesOf = ({ body }: Answer): string[] =>
    (body.errors ?? []).map(({ extensions }) => extensions.code);

  test('is refused with OVERLOADED and the time to try again, while cached responses are served', async () => {
    await start({ MAX_IN_FLIGHT: '4' });
    await send(other, ME);
    await send(other, ME);
    const unlock = await lockBots();
    const { token: another } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    const admitted = [...searches(greedy, 2), ...searches(another, 2, 10)];
    await eventually(async () => (await app.metric('flovo_requests_in_flight')) === 4);
    const refused = await Promise.all(searches(greedy, 3, 20));
    for (const answer of refused) {
      expect([answer.status, codesOf(answer)]).toEqual([503, ['OVERLOADED']]);
      expect(answer.headers.get('retry-after')).toBe('1');
    }
    expect(await send(other, ME)).toMatchObject({ status: 200, body: { data: { me: {} } } });
    await unlock();
    const answers = await Promise.all(admitted);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(3);
    expect((await Promise.all(searches(greedy, 2, 30))).map(codesOf)).toEqual([[], []]);
    expect(await app.metric('flovo_overload_refusals_total', { reason: 'late' })).toBeGreaterThanOrEqual(3);
    expect(await app.metric('flovo_requests_in_flight')).toBe(0);
    expect(await app.metric('flovo_requests_waiting')).toBe(0);
  });

  test('of one caller is refused at once when they fill half of the line, and another still gets in', async () => {
    await start({ MAX_IN_FLIGHT: '1' });
    const unlock = await lockBots();
    // One is executed, half of the line waits, and the others are refused.
    const waiting = searches(greedy, 12);
    await eventually(async () => (await app.metric('flovo_requests_waiting')) === 5);
    await eventually(
      async () => (await app.metric('flovo_overload_refusals_total', { reason: 'full' })) === 6,
    );
    const late = send(other, ME);
    await eventually(async () => (await app.metric('flovo_requests_waiting')) === 6);
    await unlock();
    expect(await late).toMatchObject({ status: 200, body: { data: { me: {} } } });
    const refused = (await Promise.all(waiting)).filter(({ status }) => status === 503);
    expect(refused.map(codesOf)).toEqual(refused.map(() => ['OVERLOADED']));
  });

  test('of one caller leaves connections to the others', async () => {
    await start({ DATABASE_POOL_MAX: '5' });
    const unlock = await lockBots();
    const waiting = searches(greedy, 12);
    await eventually(async () => (await blocked()) === 4);
    // The caller is read as well.
    await eventually(async () => (await app.metric('flovo_sql_pool_waiting')) >= 8);
    expect(await send(other, ME)).toMatchObject({ status: 200, body: { data: { me: {} } } });
    await unlock();
    await Promise.allSettled(waiting);
  });

  test('of one organization leaves connections to the others, whoever its members are', async () => {
    await start({ DATABASE_POOL_MAX: '5' });
    const members = await Promise.all(
      Array.from({ length: 6 }, async () => await addUser(database.sql, { [orgId]: 'VIEWER' })),
    );
    // The server learns of which organization a caller is when it answers.
    for (const { token } of members) await send(token, '{ me { name } }');
    const unlock = await lockBots();
    const waiting = members.flatMap(({ token }, i) => searches(token, 2, 10 * i));
    await eventually(async () => (await blocked()) === 4);
    await eventually(async () => (await app.metric('flovo_sql_pool_waiting')) >= 8);
    expect(await send(other, ME)).toMatchObject({ status: 200, body: { data: { me: {} } } });
    await unlock();
    await Promise.allSettled(waiting);
  });

  test('of a client that leaves is ended in PostgreSQL, and what did not start is never begun', async () => {
    await start({ DATABASE_POOL_MAX: '5' });
    await lockBots();
    const leaving = new AbortController();
    const gone = Array.from(
      { length: 8 },
      async (_, i) => await send(greedy, SEARCH, { orgId, search: `text ${i}` }, leaving),
    );
    await eventually(async () => (await blocked()) === 4);
    await eventually(async () => (await app.metric('flovo_sql_pool_waiting')) >= 4);
    leaving.abort();
    await Promise.allSettled(gone);
    await eventually(async () => (await blocked()) === 0);
    await eventually(async () => (await app.metric('flovo_requests_in_flight')) === 0);
    expect(await app.metric('flovo_sql_pool_waiting')).toBe(0);
    expect(app.logs.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  });

  test.each([
    ['with the cache', {}],
    ['without the cache', { REDIS_URL: 'off' }],
  ])('of a client that leaves goes on for another who wants the same, %s', async (_how, settings) => {
    await start(settings);
    const unlock = await lockBots();
    const variables = { orgId, search: '' };
    const leaving = new AbortController();
    const gone = send(greedy, SEARCH, variables, leaving);
    await eventually(async () => (await blocked()) === 1);
    const { token: another } = await addUser(database.sql, { [orgId]: 'VIEWER' });
    const staying = send(another, SEARCH, variables);
    await eventually(async () => (await app.metric('flovo_requests_in_flight')) === 2);
    const joined = async () => (await app.metric('flovo_cache_misses_total')) >= 4;
    await eventually(joined);
    leaving.abort();
    await Promise.allSettled([gone]);
    await eventually(async () => (await app.metric('flovo_requests_in_flight')) === 1);
    expect(await blocked()).toBe(1);
    await unlock();
    expect(await staying).toMatchObject({ status: 200, body: { data: { bots: { total: 3 } } } });
  });

  test('of a mutation that has begun is done, although its client leaves', async () => {
    await start();
    const { token: editor } = await addUser(database.sql, { [orgId]: 'EDITOR' });
    const unlock = await lockBots();
    const leaving = new AbortController();
    const create = 'mutation ($input: CreateBotInput!) { createBot(input: $input) { id } }';
    const gone = send(editor, create, { input: { orgId, name: 'Created' } }, leaving);
    await eventually(async () => (await blocked()) === 1);
    leaving.abort();
    await Promise.allSettled([gone]);
    await unlock();
    const created = async () => await database.sql`select from bots where name = 'Created'`;
    expect(await eventually(async () => (await created()).length === 1)).toBe(true);
  });

  test('is given up at the deadline that the client sets, without the parts that came too late', async () => {
    await start();
    await lockBots();
    const query = 'query ($orgId: ID!) { me { id } bots(orgId: $orgId) { total } }';
    const answer = await send(greedy, query, { orgId }, { headers: { 'x-request-timeout-ms': '200' } });
    expect(answer).toMatchObject({
      status: 200,
      body: {
        errors: [
          {
            message: expect.stringContaining('200 ms'),
            extensions: { code: 'DEADLINE_EXCEEDED', retryable: true },
          },
        ],
      },
    });
    await eventually(async () => (await blocked()) === 0);
  });

  test.each(['0', '-1', '1.5', 'soon', '1e3'])(
    'the deadline %s is refused, naming the header',
    async (value) => {
      await start();
      const answer = await send(greedy, ME, {}, { headers: { 'x-request-timeout-ms': value } });
      expect(answer).toMatchObject({
        status: 400,
        body: { errors: [{ extensions: { code: 'BAD_USER_INPUT', field: 'x-request-timeout-ms' } }] },
      });
    },
  );

  test('of many searches in one document is refused, and of some is no single statement', async () => {
    await start();
    const document = (count: number) =>
      `query ($orgId: ID!) { ${Array.from({ length: count }, (_, i) => `a${i}: bots(orgId: $orgId, search: "${i}") { total }`).join(' ')} }`;
    const refused = await send(greedy, document(60), { orgId });
    expect(refused).toMatchObject({
      body: { errors: [{ message: expect.stringContaining('too expensive') }] },
    });
    app.statements.length = 0;
    expect(codesOf(await send(greedy, document(20), { orgId }))).toEqual([]);
    const searched = app.statements.filter((statement) => statement.includes('matched'));
    expect(searched.length).toBe(20);
  });
});
