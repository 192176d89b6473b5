import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { addBots } from '../support/people.js';
import { createFixture, type Fixture } from './fixture.js';

describe('a body', () => {
  let fixture: Fixture;
  let botId: string;

  beforeAll(async () => {
    fixture = await createFixture();
    botId = (await addBots(fixture.database.sql, fixture.orgId, 1))[0] as string;
  });

  afterAll(async () => {
    await fixture?.close();
  });

  const bodyOf = (description: string) =>
    Buffer.from(
      JSON.stringify({
        query:
          'mutation ($id: ID!, $d: String) { updateBot(id: $id, input: { description: $d }) { description } }',
        variables: { id: botId, d: description },
      }),
    );

  const post = async (body: BodyInit | undefined, headers: Record<string, string>) => {
    const response = await fetch(fixture.app.url, {
      method: 'POST',
      headers: { authorization: `Bearer ${fixture.editor.token}`, ...headers },
      ...(body === undefined ? {} : { body }),
    });
    return { response, answer: (await response.json()) as Record<string, unknown> };
  };

  const description = async () =>
    (await fixture.database.sql`select description from bots where id = ${botId}`)[0]?.description as string;

  /** Sends a body that must be refused. @returns the message of the only error */
  const refused = async (
    body: BodyInit | undefined,
    headers: Record<string, string>,
    status: number,
  ): Promise<{ message: string; response: Response }> => {
    const before = await description();
    const { response, answer } = await post(body, headers);
    expect(response.status).toBe(status);
    expect(answer).toEqual({
      errors: [{ message: expect.any(String), extensions: { code: 'BAD_USER_INPUT' } }],
    });
    expect(await description()).toBe(before);
    return { message: (answer.errors as [{ message: string }])[0].message, response };
  };

  const JSON_TYPE = { 'content-type': 'application/json' };

  test.each([
    ['gzip', gzipSync],
    ['GZIP', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['zstd', (body: Buffer) => body],
    ['identity, gzip', gzipSync],
    ['unknown', (body: Buffer) => body],
  ])(
    'compressed with %s is refused, and the error names the accepted encodings',
    async (encoding, compress) => {
      const body = new Uint8Array(compress(bodyOf('compressed')));
      const { message, response } = await refused(body, { ...JSON_TYPE, 'content-encoding': encoding }, 415);
      expect(message).toMatch(/compress|Content-Encoding/);
      expect(response.headers.get('accept-encoding')).toBe('identity');
    },
  );

  test.each(['identity', 'Identity', ' identity ', ''])(
    'whose encoding is "%s" is read',
    async (encoding) => {
      const { answer } = await post(bodyOf(`as ${encoding}`), { ...JSON_TYPE, 'content-encoding': encoding });
      expect(answer).toEqual({ data: { updateBot: { description: `as ${encoding}` } } });
    },
  );

  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'application/json;charset="UTF-8"',
    'Application/JSON; Charset=utf8',
  ])('of the type %s is read', async (type) => {
    const { answer } = await post(bodyOf(`é as ${type}`), { 'content-type': type });
    expect(answer).toEqual({ data: { updateBot: { description: `é as ${type}` } } });
  });

  test.each(['utf-16', 'iso-8859-1', 'windows-1252', 'nonsense'])('in %s is refused', async (charset) => {
    const type = `application/json; charset=${charset}`;
    const { message } = await refused(bodyOf('charset'), { 'content-type': type }, 415);
    expect(message).toMatch(/UTF-8/);
  });

  test('that is not in its declared encoding is refused instead of being altered', async () => {
    const latin = Buffer.from(bodyOf('é').toString('utf8'), 'latin1');
    const { message } = await refused(latin, JSON_TYPE, 400);
    expect(message).toMatch(/UTF-8/);
  });

  test('that contains a replacement character is read', async () => {
    const { answer } = await post(bodyOf('\u{fffd}'), JSON_TYPE);
    expect(answer).toEqual({ data: { updateBot: { description: '\u{fffd}' } } });
  });

  test.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/graphql',
    'application/xml',
    'application/jsonx',
    'nonsense',
  ])('of the type %s is refused, and the error names the accepted type', async (type) => {
    const { message } = await refused(bodyOf('type'), { 'content-type': type }, 415);
    expect(message).toMatch(/application\/json/);
  });

  test('without a type is refused, and the error names the accepted type', async () => {
    // A stream, because fetch sets a content type for every other body.
    const { message } = await refused(new Blob([bodyOf('none')]), {}, 415);
    expect(message).toMatch(/application\/json/);
  });

  test('that is absent is refused', async () => {
    for (const headers of [{}, JSON_TYPE]) {
      const { response, answer } = await post(undefined, headers);
      expect(response.status).toBe(400);
      expect(answer).toMatchObject({ errors: [{ extensions: { code: expect.any(String) } }] });
    }
  });
});
