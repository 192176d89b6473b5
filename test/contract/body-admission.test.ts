import { once } from 'node:events';
import type { ClientRequest } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { begin, codesIn } from '../support/http.js';
import { startApp, type TestApp } from '../support/app.js';
import { createFixture, type Fixture } from './fixture.js';

let fixture: Fixture;
let hurried: TestApp;

beforeAll(async () => {
  fixture = await createFixture();
  hurried = await startApp({ DATABASE_URL: fixture.database.url, RECEIVE_TIMEOUT_MS: '500' });
});

afterAll(async () => {
  await hurried?.close();
  await fixture?.close();
});

const BODY = JSON.stringify({ query: '{ __typename }' });
const ANSWER = '{"data":{"__typename":"Query"}}\n';

const post = (token: string | undefined, headers: Record<string, string>, app = fixture.app) =>
  begin(app.url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...headers,
    },
  });

const connected = async (request: ClientRequest) => {
  const [socket] = (await once(request, 'socket')) as [Socket];
  if (socket.connecting) await once(socket, 'connect');
};

/** The usual body, made longer by blanks. */
const bodyOf = (bytes: number) => BODY + ' '.repeat(bytes - BODY.length);

describe('a long body', () => {
  test.each([
    ['no token', undefined],
    ['a token that is not valid', 'nonsense'],
  ])('with %s is refused before it is sent', async (_what, token) => {
    const { request, answer } = post(token, { 'content-length': '9900000' });
    expect((await answer).status).toBe(401);
    expect(codesIn(await answer)).toEqual(['UNAUTHENTICATED']);
    request.destroy();
  });

  test('without a length and a token is refused as soon as it is too long', async () => {
    const { request, answer } = post(undefined, { 'transfer-encoding': 'chunked' });
    request.write(bodyOf(100_001));
    expect(codesIn(await answer)).toEqual(['UNAUTHENTICATED']);
    request.destroy();
  });

  test('without a length is refused as soon as it is too long, and the error names the header', async () => {
    const { request, answer } = post(fixture.viewer.token, { 'transfer-encoding': 'chunked' });
    request.write(bodyOf(1_048_577));
    const { status, text } = await answer;
    expect([status, text]).toEqual([413, expect.stringMatching(/Content-Length/)]);
    request.destroy();
  });

  test.each([
    [100_000, undefined],
    [1_048_576, 'viewer' as const],
  ])('without a length is read up to %d bytes', async (bytes, caller) => {
    const token = caller && fixture[caller].token;
    const { request, answer } = post(token, { 'transfer-encoding': 'chunked' });
    request.end(bodyOf(bytes));
    expect(await answer).toMatchObject({ status: 200, text: ANSWER });
  });

  test('waits while two of the same caller are read; those of others do not wait', async () => {
    const length = 2_000_000;
    const begun = (token: string | undefined) => {
      const sent = post(token, { 'content-length': String(length) });
      sent.request.write(BODY);
      return {
        answer: sent.answer,
        finish: () => sent.request.end(' '.repeat(length - BODY.length)),
      };
    };
    const answered: string[] = [];
    const note = (name: string, { answer }: ReturnType<typeof begun>) =>
      answer.then(({ status }) => answered.push(`${name} ${status}`));
    const [first, second, third] = [1, 2, 3].map(() => begun(fixture.viewer.token));
    if (!first || !second || !third) throw new Error('There must be three requests');
    third.finish();
    const thirdAnswer = note('third', third);
    const other = begun(fixture.editor.token);
    other.finish();
    await note('other', other);
    expect(answered).toEqual(['other 200']);
    first.finish();
    await Promise.all([note('first', first), thirdAnswer]);
    second.finish();
    await note('second', second);
    expect(answered.sort()).toEqual(['first 200', 'other 200', 'second 200', 'third 200']);
  });

  test('that its client gives up makes room for the next one', async () => {
    const held = [1, 2].map(() => post(fixture.viewer.token, { 'content-length': '2000000' }));
    await Promise.all(held.map(async ({ request }) => await connected(request)));
    // By then the headers of both have arrived.
    expect((await fixture.viewer.sendText('{ __typename }')).status).toBe(200);
    const { request, answer } = post(fixture.viewer.token, { 'content-length': '2000000' });
    request.end(bodyOf(2_000_000));
    for (const each of held) each.request.destroy();
    expect((await answer).status).toBe(200);
  });
});

test('a body that arrives a byte now and then ends with 408 when the time is over', async () => {
  const bytes = 200;
  const { request, answer } = post(fixture.viewer.token, { 'content-length': String(bytes) }, hurried);
  const state = { isOver: false };
  const ended = answer.finally(() => {
    state.isOver = true;
  });
  // It would be complete after twenty seconds.
  for (let sent = 0; sent < bytes && !state.isOver; sent++) {
    request.write(BODY[sent] ?? ' ');
    await pause(100);
  }
  expect(await ended).toMatchObject({ status: 408 });
  expect(codesIn(await answer)).toEqual(['BAD_USER_INPUT']);
}, 30_000);
