import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { addBots } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

const LIST = `query ListBots($orgId: ID!, $search: String) {
  bots(orgId: $orgId, search: $search) { items { id name } }
}`;
const SECRET_TEXT = 'nobody may read this';
const SLOW_MS = 60;

describe('the log', () => {
  let fixture: Fixture;
  let quiet: TestApp;
  let botId: string;

  beforeAll(async () => {
    const slow = String(SLOW_MS);
    fixture = await createFixture({ LOG_LEVEL: 'debug', SLOW_OPERATION_MS: slow, SLOW_SQL_MS: slow });
    quiet = await startApp({
      DATABASE_URL: fixture.database.url,
      LOG_LEVEL: 'info',
      SLOW_OPERATION_MS: '0',
      SLOW_SQL_MS: '0',
    });
    [botId] = (await addBots(fixture.database.sql, fixture.orgId, 1)) as [string];
  });

  afterAll(async () => {
    await quiet?.close();
    await fixture?.close();
  });

  const linesOf = (app: TestApp, message: string) => app.logs.filter(({ msg }) => msg === message);
  const send = async (requestId: string, query: string, variables: object, app = fixture.app) =>
    await fetch(app.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${fixture.owner.token}`,
        'x-request-id': requestId,
      },
      body: JSON.stringify({ query, variables }),
    });
  /** The line of a request; it is written after the answer was sent. */
  const lineOf = async (requestId: string) => {
    const find = () =>
      linesOf(fixture.app, 'Answered a request').find((line) => line.requestId === requestId);
    await eventually(() => find() !== undefined);
    return find();
  };

  test('has one line for each request at debug, which says whether the response was cached', async () => {
    const variables = { orgId: fixture.orgId };
    await send('first', LIST, variables);
    expect(await lineOf('first')).toMatchObject({
      level: 20,
      method: 'POST',
      route: '/graphql',
      status: 200,
      durationMs: expect.any(Number),
      operation: 'ListBots',
      responseCache: 'miss',
    });
    let count = 0;
    await eventually(async () => {
      const id = `again-${++count}`;
      await send(id, LIST, variables);
      const line = await lineOf(id);
      return line?.responseCache === 'hit' && line.operation === 'ListBots';
    });
    await fetch(new URL('/healthz?secret=1', fixture.app.url), { headers: { 'x-request-id': 'health' } });
    const health = await lineOf('health');
    expect(health).toMatchObject({ method: 'GET', route: '/healthz', status: 200 });
    expect(health).not.toHaveProperty('operation');
    expect(linesOf(quiet, 'Answered a request')).toEqual([]);
  });

  test('warns of slow operations and slow statements, unless that is switched off', async () => {
    const lock = await fixture.database.sql.reserve();
    const waiting = async () =>
      await fixture.database.sql<{ pid: number }[]>`
        select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()
          and clock_timestamp() - query_start > ${`${SLOW_MS} ms`}::interval`;
    try {
      await lock`begin`;
      await lock`lock table bots in access exclusive mode`;
      const variables = { orgId: fixture.orgId, search: SECRET_TEXT };
      const answers = [fixture.app, quiet].map(async (app) => await send('slow', LIST, variables, app));
      await eventually(async () => (await waiting()).length === 2);
      await lock`rollback`;
      await Promise.all(answers);
    } finally {
      lock.release();
    }
    const operation = { requestId: 'slow', operation: 'ListBots', type: 'query', responseCache: 'miss' };
    expect(linesOf(fixture.app, 'Slow operation')).toContainEqual(
      expect.objectContaining({ level: 40, ...operation }),
    );
    const statements = linesOf(fixture.app, 'Slow SQL statement');
    expect(statements).toContainEqual(
      expect.objectContaining({ level: 40, statement: expect.stringContaining('bots') }),
    );
    for (const { durationMs } of statements) expect(durationMs).toBeGreaterThanOrEqual(SLOW_MS);
    expect(linesOf(quiet, 'Slow operation')).toEqual([]);
    expect(linesOf(quiet, 'Slow SQL statement')).toEqual([]);
  });

  test('holds no token, no variables and no text of a message', async () => {
    const record = `mutation Record($id: ID!, $text: String!) { recordMessages(botId: $id, messages: [{
      conversationId: "c", contactId: "c", direction: INBOUND, status: DELIVERED, text: $text }]) { totalMessages } }`;
    await send('record', record, { id: botId, text: SECRET_TEXT });
    await send('broken', `query Broken($id: ID!) { bot(id: $id) { id } }`, { id: SECRET_TEXT });
    expect(await lineOf('record')).toMatchObject({ operation: 'Record', status: 200 });
    expect(await lineOf('broken')).toMatchObject({ operation: 'Broken' });
    const all = JSON.stringify(fixture.app.logs);
    expect(all).not.toContain(SECRET_TEXT);
    expect(all).not.toContain(fixture.owner.token);
    expect(all).not.toContain(fixture.orgId);
  });
});
