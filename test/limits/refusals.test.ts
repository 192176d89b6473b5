import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { addBots, addOrganization, addUser } from '../support/people.js';
import { startServerProcess, type ServerProcess } from '../support/server-process.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

/**
 * CPU time that a refusal may take for each started 100 kB, beside parsing the JSON (ms): twice what is wanted, because a busy
 * machine takes longer. What grows faster than the body takes seconds.
 */
const MAX_CPU_MS_PER_100_KB = 100;
const MAX_ANSWER_BYTES = 50_000;
const MAX_ERRORS = 10;

interface Body {
  readonly query: string;
  readonly variables?: unknown;
  readonly operationName?: string;
  readonly extensions?: unknown;
}

const repeat = (size: number, piece: string | ((i: number) => string)): string => {
  const pieces: string[] = [];
  let length = 0;
  for (let i = 0; length < size; i++) {
    const next = typeof piece === 'string' ? piece : piece(i);
    pieces.push(next);
    length += next.length;
  }
  return pieces.join('');
};
const list = (size: number, piece: (i: number) => string): string => repeat(size, (i) => `${piece(i)},`);
const RECORD =
  'mutation ($m: [MessageInput!]!) { recordMessages(botId: "$bot", messages: $m) { totalMessages } }';
const UPDATE = 'mutation ($i: UpdateBotInput!) { updateBot(id: "$bot", input: $i) { version } }';
const inJson = (text: string): unknown => JSON.parse(text) as unknown;

/** Requests that are refused, by their mistake, of about this many bytes. */
const REFUSED: Readonly<Record<string, (size: number) => Body | string>> = {
  'a list of values that are no messages': (size) => ({
    query: RECORD,
    variables: { m: inJson(`[${repeat(size, '1,')}1]`) },
  }),
  'a list of empty messages': (size) => ({
    query: RECORD,
    variables: { m: inJson(`[${repeat(size, '{},')}{}]`) },
  }),
  'messages with unknown fields': (size) => ({
    query: RECORD,
    variables: { m: inJson(`[${list(size, (i) => `{"unknown${i}":1}`)}{}]`) },
  }),
  'too many messages, all of them good': (size) => ({
    query: RECORD,
    variables: {
      m: inJson(
        `[${repeat(size + 50_000, '{"conversationId":"c","contactId":"c","direction":"INBOUND","status":"PENDING","text":""},')}{}]`,
      ),
    },
  }),
  'an input with unknown fields': (size) => ({
    query: UPDATE,
    variables: { i: inJson(`{${list(size, (i) => `"unknown${i}":1`)}"x":1}`) },
  }),
  'an input with unknown fields, many times': (size) => ({
    query: `mutation (${repeat(1_000, (i) => `$i${i}: UpdateBotInput! `)}) { updateBot(id: "$bot", input: $i0) { version } }`,
    variables: { i0: inJson(`{${list(size, (i) => `"unknown${i}":1`)}"x":1}`) },
  }),
  'an unknown field with a long name': (size) => ({
    query: UPDATE,
    variables: { i: { ['x'.repeat(size)]: 1 } },
  }),
  'a long text for a number': (size) => ({
    query: 'query ($n: Int) { bots(orgId: "$bot", limit: $n) { total } }',
    variables: { n: 'x'.repeat(size) },
  }),
  'a long text for an enum': (size) => ({
    query: 'mutation ($s: MessageStatus!) { updateMessageStatus(id: "$bot", status: $s) { id } }',
    variables: { s: 'x'.repeat(size) },
  }),
  'a long text for an id': (size) => ({
    query: 'query ($id: ID!) { bot(id: $id) { id } }',
    variables: { id: '1'.repeat(size) },
  }),
  'a long name of a bot': (size) => ({ query: UPDATE, variables: { i: { name: 'x'.repeat(size + 200) } } }),
  'a long name of a bot, outside the BMP': (size) => ({
    query: UPDATE,
    variables: { i: { name: '😀'.repeat(size / 4 + 200) } },
  }),
  'a long search': (size) => ({
    query: 'query ($s: String) { bots(orgId: "$org", search: $s) { total } }',
    variables: { s: 'ab '.repeat(size / 3 + 200) },
  }),
  'a variable nested deeply': (size) => ({
    query: UPDATE,
    variables: {
      i: inJson(`{"name":${'['.repeat(Math.min(size, 3_000))}${']'.repeat(Math.min(size, 3_000))}}`),
    },
  }),
  'lines of nothing, then failing aliases': (size) => ({
    // JSON writes a line break in two characters.
    query: `{${'\n'.repeat(size / 2)}${repeat(900, (i) => `a${i % 60}${i}: bot(id: "1") { id } `)}}`,
  }),
  'as many lines as allowed, then failing aliases': (size) => ({
    query: `{${'\n'.repeat(Math.min(size, 1_900))}${Array.from({ length: 55 }, (_, i) => `a${i}: bot(id: "1") { id } `).join('')}}`,
  }),
  'lines of nothing, then an error of syntax': (size) => ({ query: `${'\n'.repeat(size)}!` }),
  'the same field': (size) => ({ query: `{ me { ${repeat(size, 'id ')} } }` }),
  'the same object': (size) => ({ query: `{ ${repeat(size, 'me{id} ')} nothing }` }),
  'the same failing object': (size) => ({
    query: `{ ${repeat(Math.min(size, 2_000), 'bot(id:"1"){id} ')} }`,
  }),
  'the same fragment': (size) => ({
    query: `{ me { ${repeat(size, '...F ')} } } fragment F on User { nothing }`,
  }),
  'many fragments': (size) => ({
    query: `{ me { ${repeat(size / 3, (i) => `...F${i} `)} } } ${repeat((size * 2) / 3, (i) => `fragment F${i} on User { id } `)}`,
  }),
  'fragments that double each other': () => ({
    query: `{ ...F0 } ${Array.from({ length: 60 }, (_, i) => `fragment F${i} on Query { me { id } ...F${i + 1} ...F${i + 1} }`).join(' ')} fragment F60 on Query { me { nothing } }`,
  }),
  'unknown fields': (size) => ({ query: `{ me { ${repeat(size, (i) => `unknown${i} `)} } }` }),
  'unknown types': (size) => ({
    query: repeat(size, (i) => `query Q${i}($v: Type${i}) { me { id } } `),
  }),
  'unknown arguments': (size) => ({ query: `{ me(${repeat(size, (i) => `a${i}: 1 `)}) { id } }` }),
  'unknown directives': (size) => ({ query: `{ me { id ${repeat(size, (i) => `@d${i} `)} } }` }),
  'directives given again': (size) => ({ query: `{ me { id ${repeat(size, '@skip(if: true) ')} } }` }),
  'unused variables': (size) => ({ query: `query (${repeat(size, (i) => `$v${i}: Int `)}) { me { id } }` }),
  'undefined variables': (size) => ({
    query: `{ ${repeat(Math.min(size, 3_000), (i) => `a${i % 60}${i}: bot(id: $v${i}) { id } `)} }`,
  }),
  'many operations': (size) => ({ query: repeat(size, (i) => `query Q${i} { me { id } } `) }),
  'brackets in each other': (size) => ({
    query: `{ a(b: ${'['.repeat(size / 2)}${']'.repeat(size / 2)}) }`,
  }),
  'selections in each other': (size) => ({ query: `${'{ a '.repeat(size / 4)}${'}'.repeat(size / 4)}` }),
  'a long name': (size) => ({ query: `{ ${'a'.repeat(size)} }` }),
  'a long number': (size) => ({ query: `{ bots(orgId: "$org", limit: ${'1'.repeat(size)}) { total } }` }),
  'a long text that is no id': (size) => ({ query: `{ bot(id: "${'x'.repeat(size)}") { id } }` }),
  'a long comment': (size) => ({ query: `{ me { nothing } } #${'x'.repeat(size)}` }),
  'a long list': (size) => ({ query: `{ bots(orgId: [${repeat(size, '1 ')}]) { total } }` }),
  'a long name of an operation': (size) => ({ query: '{ me { id } }', operationName: 'x'.repeat(size) }),
  'a persisted query that is another': (size) => ({
    query: `{ me { id } } #${'x'.repeat(size)}`,
    extensions: { persistedQuery: { version: 1, sha256Hash: 'x'.repeat(size) } },
  }),
  'introspection, many times': () => ({
    query: `{ __schema { types { ...T } } } fragment T on __Type { ${Array.from({ length: 58 }, (_, i) => `a${i}: fields { type { fields { type { fields { name } } } } }`).join(' ')} }`,
  }),
  'introspection that fragments double': () => ({
    query: `{ __schema { types { ...F0 } } } ${Array.from({ length: 10 }, (_, i) => `fragment F${i} on __Type { ofType { ...F${i + 1} } fields { type { ...F${i + 1} } } }`).join(' ')} fragment F10 on __Type { fields { name } }`,
  }),
  'JSON that is none': (size) => `{"query":"${'x'.repeat(size)}`,
  'brackets of JSON in each other': (size) => `{"query":${'['.repeat(size / 2)}${']'.repeat(size / 2)}}`,
  'JSON with a prototype': (size) =>
    `{"query":"{me{id}}","variables":{${list(size, (i) => `"k${i}":1`)}"__proto__":{"a":1}}}`,
};

const SIZES = [1_000, 30_000, 1_000_000];
/** The largest accepted bodies take long to send, so only these mistakes are tested with them. */
const LARGEST = 9_000_000;
const SENT_LARGEST: ReadonlySet<string> = new Set([
  'a list of values that are no messages',
  'lines of nothing, then failing aliases',
  'a long search',
  'brackets of JSON in each other',
]);

describe('refusing a request', () => {
  let database: TestDatabase;
  let server: ServerProcess;
  let orgId: string;
  let botId: string;
  let token: string;

  beforeAll(async () => {
    database = await createDatabase();
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    server = await startServerProcess({
      DATABASE_URL: database.url,
      REDIS_URL: 'off',
      INTROSPECTION: 'on',
    });
    // Warm up: code is slow when it runs for the first time.
    for (const make of Object.values(REFUSED)) {
      for (const anonymous of [true, false]) await send(textOf(make(1_000)), anonymous);
    }
  }, 120_000);

  afterAll(async () => {
    await server?.end('SIGTERM');
    await database?.drop();
  });

  const textOf = (body: Body | string): string =>
    (typeof body === 'string' ? body : JSON.stringify(body))
      .replaceAll('$bot', botId)
      .replaceAll('$org', orgId);

  const send = async (text: string, anonymous: boolean) => {
    const response = await fetch(server.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(anonymous ? {} : { authorization: `Bearer ${token}` }),
      },
      body: text,
    });
    const answer = await response.text();
    return { bytes: answer.length, answer: JSON.parse(answer) as { errors?: unknown[]; data?: unknown } };
  };

  /** CPU time that the server has used so far (ms). */
  const cpuMs = async (): Promise<number> => {
    const metrics = await (await fetch(new URL('/metrics', server.url))).text();
    return Number(/^process_cpu_seconds_total (\S+)/m.exec(metrics)?.[1]) * 1_000;
  };

  /** The least CPU time of several tries (ms), to exclude other work: collections of garbage, and busy neighbours. */
  const cpuOf = async (action: () => Promise<unknown>): Promise<number> => {
    let least = Infinity;
    for (let time = 0; time < 8; time++) {
      const before = await cpuMs();
      await action();
      least = Math.min(least, (await cpuMs()) - before);
      if (least < MAX_CPU_MS_PER_100_KB / 2) break;
    }
    return least;
  };

  const parsingMs = (text: string): number => {
    const before = process.cpuUsage();
    try {
      JSON.parse(text);
    } catch {
      // A failed request is measured as well.
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };

  describe.each(Object.keys(REFUSED))('for %s', (what) => {
    test.each(SENT_LARGEST.has(what) ? [...SIZES, LARGEST] : SIZES)(
      'of %d bytes takes little CPU time, and has a short answer',
      async (size) => {
        const text = textOf((REFUSED[what] as (size: number) => Body | string)(size));
        const allowedMs = MAX_CPU_MS_PER_100_KB * Math.ceil(text.length / 100_000) + 2 * parsingMs(text);
        for (const anonymous of [true, false]) {
          let sent: Awaited<ReturnType<typeof send>> | undefined;
          const cpu = await cpuOf(async () => (sent = await send(text, anonymous)));
          const caller = anonymous ? 'anonymous' : 'editor';
          expect({ caller, errors: sent?.answer.errors?.length ?? 0 }).not.toEqual({ caller, errors: 0 });
          expect(sent?.bytes).toBeLessThanOrEqual(MAX_ANSWER_BYTES);
          if (!/failing (aliases|object)/.test(what)) {
            expect(sent?.answer.errors?.length).toBeLessThanOrEqual(MAX_ERRORS);
          }
          expect(JSON.stringify(sent?.answer)).not.toContain('INTERNAL_SERVER_ERROR');
          if (cpu > allowedMs)
            throw new Error(`${caller}: ${cpu.toFixed(0)} ms of ${allowedMs.toFixed(0)} ms`);
        }
      },
      60_000,
    );
  });
});
