import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { UpdateBotDocument } from '../generated/graphql.js';
import { addBots, addUser } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

describe.each(['on', 'off'])('a query by GET, with the response cache %s', (responseCache) => {
  let fixture: Fixture;
  let token: string;
  let stranger: string;
  let id: string;

  beforeAll(async () => {
    fixture = await createFixture({ RESPONSE_CACHE: responseCache, CORS_ORIGIN: 'http://localhost:3000' });
    const { database, orgId } = fixture;
    [id = ''] = await addBots(database.sql, orgId, 1);
    ({ token } = await addUser(database.sql, { [orgId]: 'VIEWER' }));
    ({ token: stranger } = await addUser(database.sql, {}));
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const get = async (headers: Record<string, string> = {}, query = `{ bot(id: "${id}") { name } }`) =>
    await fetch(`${fixture.app.url}?${new URLSearchParams({ query }).toString()}`, {
      headers: {
        authorization: `Bearer ${token}`,
        accept: 'application/json',
        'apollo-require-preflight': 'x',
        ...headers,
      },
    });
  const tagOf = (response: Response): string => response.headers.get('etag') ?? '';

  test('is answered with a tag, and without a body when the client has the answer', async () => {
    const first = await get();
    expect(first.status).toBe(200);
    expect(tagOf(first)).toMatch(/^"[\w-]{27}"$/);
    expect(first.headers.get('cache-control')).toBe('private, max-age=0, must-revalidate');
    expect(first.headers.get('vary')?.toLowerCase()).toMatch(/authorization, accept/);
    for (const named of [tagOf(first), `W/${tagOf(first)}`, `"other", ${tagOf(first)}`, '*']) {
      const again = await get({ 'if-none-match': named });
      expect([again.status, await again.text(), tagOf(again)]).toEqual([304, '', tagOf(first)]);
    }
    expect((await get({ 'if-none-match': '"other"' })).status).toBe(200);
  });

  test('is answered anew once the bot has changed, at once', async () => {
    const first = await get();
    await fixture.editor.ask(UpdateBotDocument, { id, input: { name: `renamed ${responseCache}` } });
    const second = await get({ 'if-none-match': tagOf(first) });
    expect(second.status).toBe(200);
    expect(await second.json()).toEqual({ data: { bot: { name: `renamed ${responseCache}` } } });
    expect(tagOf(second)).not.toBe(tagOf(first));
  });

  test('tells the age of the answer, in seconds', async () => {
    const query = '{ me { name } }';
    const made = Date.now();
    expect((await get({}, query)).headers.get('age')).toBe('0');
    const later = await get({}, query);
    expect(Number(later.headers.get('age'))).toBeLessThanOrEqual((Date.now() - made) / 1_000);
  });

  test('has no tag if it has errors, or is a mutation by POST', async () => {
    const failed = await get(
      { authorization: `Bearer ${stranger}` },
      `{ bots(orgId: "${fixture.orgId}") { total } }`,
    );
    expect([tagOf(failed), failed.headers.get('cache-control')]).toEqual(['', 'no-store']);
    const invalid = await get({}, '{ nothing }');
    expect([tagOf(invalid), invalid.headers.get('cache-control')]).toEqual(['', 'no-store']);
    const posted = await fetch(fixture.app.url, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query: '{ me { name } }' }),
    });
    expect([tagOf(posted), posted.headers.get('cache-control')]).toEqual(['', 'no-store']);
  });

  test('never proves to one caller what another was answered', async () => {
    const mine = await get();
    const other = await get({ authorization: `Bearer ${stranger}`, 'if-none-match': tagOf(mine) });
    expect(other.status).toBe(200);
    expect(await other.text()).toContain('NOT_FOUND');
    expect((await get({ authorization: '', 'if-none-match': '*' })).status).not.toBe(304);
  });
});
