import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { createFixture, type Fixture } from '../contract/fixture.js';
import { addBots } from '../support/people.js';

/**
 * Known documents are executed without Apollo Server's pipeline. Clients must see no difference: status, headers and body
 * equal those of the first answer.
 */
describe('a document that was sent before', () => {
  let fixture: Fixture;
  let botId: string;

  beforeAll(async () => {
    // Cached responses would skip the execution.
    fixture = await createFixture({ RESPONSE_CACHE: 'off' });
    [botId] = (await addBots(fixture.database.sql, fixture.orgId, 1)) as [string];
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const TIMES = 5;

  interface Sent {
    readonly status: number;
    readonly type: string | null;
    readonly body: string;
  }

  const send = async (body: unknown, headers: Record<string, string> = {}): Promise<Sent> => {
    const response = await fetch(fixture.app.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${fixture.editor.token ?? ''}`,
        ...headers,
      },
      body: JSON.stringify(body),
    });
    const text = (await response.text()).replaceAll(/"requestId":"[^"]*"/g, '"requestId":"…"');
    return { status: response.status, type: response.headers.get('content-type'), body: text };
  };

  const READ = 'query Read($id: ID!) { bot(id: $id) { name version } } query Other { me { name } }';

  test.each<[string, object, Record<string, string>]>([
    ['with data', { operationName: 'Read', variables: {} }, {}],
    ['for another of its operations', { operationName: 'Other' }, {}],
    ['for an operation that it does not have', { operationName: 'Nobody' }, {}],
    ['for no operation of several', {}, {}],
    ['without a variable that it needs', { operationName: 'Read', variables: null }, {}],
    ['with a variable of the wrong type', { operationName: 'Read', variables: { id: { a: 1 } } }, {}],
    ['with an error of a resolver', { operationName: 'Read', variables: { id: 'no uuid' } }, {}],
    [
      'with variables that are text',
      { operationName: 'Read', variables: '{}', extensions: { clientLibrary: { name: 'any' } } },
      {},
    ],
    ['with an operation name that is a number', { operationName: 7 }, {}],
    [
      'with the hash of another document',
      { operationName: 'Other', extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } },
      {},
    ],
    [
      'for a client that wants graphql-response+json',
      { operationName: 'Other' },
      { accept: 'application/graphql-response+json' },
    ],
    ['for a client that takes no JSON', { operationName: 'Other' }, { accept: 'image/png' }],
    ['without a token', { operationName: 'Other' }, { authorization: '' }],
  ])('%s is answered as the first time', async (_, rest, headers) => {
    const variables = { id: botId };
    const ask = async () => await send({ query: READ, variables, ...rest }, headers);
    const first = await ask();
    const others: Sent[] = [];
    for (let time = 1; time < TIMES; time++) others.push(await ask());
    expect(others).toEqual(others.map(() => first));
    expect(first.body.length).toBeGreaterThan(10);
  });

  test('is executed once, also if its result is an error that Apollo Server formats', async () => {
    const update =
      'mutation Up($id: ID!, $name: String!, $v: Int) { updateBot(id: $id, input: { name: $name, expectedVersion: $v }) { version } }';
    const ask = async (variables: object) =>
      await send({ query: update, variables: { id: botId, ...variables } });
    const versions: unknown[] = [];
    for (let time = 0; time < TIMES; time++)
      versions.push(JSON.parse((await ask({ name: `name ${time}` })).body));
    const first = (versions[0] as { data: { updateBot: { version: number } } }).data.updateBot.version;
    expect(versions).toEqual(versions.map((_, time) => ({ data: { updateBot: { version: first + time } } })));
    fixture.app.statements.length = 0;
    expect(JSON.parse((await ask({ name: 'x', v: 1 })).body)).toMatchObject({
      errors: [{ extensions: { code: 'CONFLICT', currentVersion: first + TIMES - 1 } }],
    });
    expect(fixture.app.statements.filter((statement) => statement.startsWith('update'))).toHaveLength(1);
  });

  test('has an unexpected error masked, and logged once with the request id', async () => {
    const ask = async () => await send({ query: '{ me { memberships { organization { name slug } } } }' });
    for (let time = 0; time < TIMES; time++) expect((await ask()).body).toContain('"data"');
    await fixture.database.sql`alter table organizations rename column slug to gone`;
    await fixture.admin.flushall();
    const logged = () =>
      fixture.app.logs.filter(({ msg }) => String(msg).startsWith('Unexpected error')).length;
    const before = logged();
    const failed = await ask();
    await fixture.database.sql`alter table organizations rename column gone to slug`;
    expect(failed.body).toContain('Internal server error');
    expect(failed.body).not.toContain('slug');
    expect(logged()).toBe(before + 1);
  });
});
