import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';

import { startApp, type TestApp } from '../support/app.js';
import { addBots, addOrganization, addUser } from '../support/people.js';
import { createDatabase, type TestDatabase } from '../support/services.js';

interface Asked {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
}

const UPDATE = 'mutation ($i: UpdateBotInput!) { updateBot(id: "$bot", input: $i) { id } }';
const STATUS = 'mutation ($s: MessageStatus!) { updateMessageStatus(id: "$bot", status: $s) { id } }';

/** Mistakes for which graphql-js suggests similar names of the schema. */
const SUGGESTING: Readonly<Record<string, Asked>> = {
  'a field': { query: '{ me { nam } }' },
  'a field of the query': { query: '{ bott(id: "$bot") { id } }' },
  'an argument': { query: '{ bots(orgid: "$org") { total } }' },
  'an argument of a directive': { query: '{ me { id @skip(iff: true) } }' },
  'a type of a variable': { query: 'query ($s: MessageStatu) { me { id } }' },
  'a type of a fragment': { query: '{ me { ...F } } fragment F on Usr { id }' },
  'an object without fields': { query: '{ me }' },
  'an enum value': {
    query: 'mutation { updateMessageStatus(id: "$bot", status: DELIVERD) { id } }',
  },
  'an enum value in quotation marks': {
    query: 'mutation { updateMessageStatus(id: "$bot", status: "DELIVERED") { id } }',
  },
  'a default of a variable': {
    query: `query ($s: MessageStatus = DELIVERD) { me { id } }`,
  },
  'an input field': { query: 'mutation { updateBot(id: "$bot", input: { nam: "x" }) { id } }' },
  'an input field of a variable': { query: UPDATE, variables: { i: { nam: 'x' } } },
  'an input field of a variable, after a text with a question': {
    query: UPDATE,
    variables: { i: { name: 'Did you mean this?\nor that?', descripton: 'Did you mean this?' } },
  },
  'an enum value of a variable': { query: STATUS, variables: { s: 'DELIVERD' } },
  'an enum value of a variable, in another case': { query: STATUS, variables: { s: 'delivered' } },
  'an enum value within a list of a variable': {
    query:
      'mutation ($m: [MessageInput!]!) { recordMessages(botId: "$bot", messages: $m) { totalMessages } }',
    variables: {
      m: [{ conversationId: 'c', contactId: 'c', direction: 'INBOUN', status: 'PENDIN', text: '' }],
    },
  },
};

describe('similar names of the schema', () => {
  let database: TestDatabase;
  let orgId: string;
  let botId: string;
  let token: string;
  const apps: TestApp[] = [];

  beforeAll(async () => {
    database = await createDatabase();
    orgId = await addOrganization(database.sql);
    [botId] = (await addBots(database.sql, orgId, 1)) as [string];
    ({ token } = await addUser(database.sql, { [orgId]: 'EDITOR' }));
    for (const INTROSPECTION of ['off', 'on']) {
      apps.push(await startApp({ DATABASE_URL: database.url, INTROSPECTION }));
    }
  });

  afterAll(async () => {
    for (const app of apps) await app.close();
    await database?.drop();
  });

  /** The answers to one request, sent in every way, and again once its document is cached. */
  async function askInAllWays(app: TestApp, { query, variables }: Asked): Promise<string[]> {
    const text = query.replaceAll('$bot', botId).replaceAll('$org', orgId);
    const sha256Hash = createHash('sha256').update(text).digest('hex');
    const extensions = { persistedQuery: { version: 1, sha256Hash } };
    const answers: string[] = [];
    const headers = { accept: 'application/json', authorization: `Bearer ${token}` };
    const post = async (body: object) => {
      const response = await fetch(app.url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      answers.push(await response.text());
    };
    for (let time = 0; time < 2; time++) await post({ query: text, variables });
    await post({ query: text, variables, extensions });
    if (!text.startsWith('mutation')) {
      const search = String(new URLSearchParams({ query: text, variables: JSON.stringify(variables ?? {}) }));
      answers.push(await (await fetch(`${app.url}?${search}`, { headers })).text());
    }
    // Once more if only the variables are wrong: then the document is cached.
    await post({ query: text, variables });
    return answers;
  }

  test.each(Object.keys(SUGGESTING))('are not suggested without introspection: %s', async (what) => {
    const [hiding, telling] = apps as [TestApp, TestApp];
    const asked = SUGGESTING[what] as Asked;
    for (const answer of await askInAllWays(hiding, asked)) {
      const messages = (JSON.parse(answer) as { errors: { message: string }[] }).errors.map(({ message }) =>
        message.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""'),
      );
      expect(messages.length).toBeGreaterThan(0);
      for (const message of messages) expect(message).toMatch(/\S/);
      expect(messages.join('\n')).not.toMatch(/Did you mean/);
    }
    // These are mistakes for which there is a suggestion.
    expect((await askInAllWays(telling, asked)).join('')).toMatch(/Did you mean/);
  });

  test.each([
    ['aliases', `{ ${Array.from({ length: 61 }, (_, n) => `a${n}: me { id }`).join(' ')} }`, /aliases/],
    ['tokens', `{ me { ${'id '.repeat(10_001)} } }`, /tokens/],
    ['lines', `{ me { ${'\n'.repeat(5_001)} id } }`, /lines/],
    ['brackets', `{ a(b: ${'['.repeat(101)}${']'.repeat(101)}) }`, /brackets/],
    ['operations', Array.from({ length: 51 }, (_, n) => `query Q${n} { me { id } }`).join(' '), /operations/],
  ])('too many %s are not reported as a syntax error', async (_what, query, rule) => {
    for (const app of apps) {
      for (let time = 0; time < 2; time++) {
        const { data, errors } = await app.client(token).sendText(query);
        expect(data).toBeUndefined();
        expect(errors).toEqual([
          { message: expect.stringMatching(rule), extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } },
        ]);
        expect(errors?.[0]?.message).not.toMatch(/syntax/i);
      }
    }
  });
});
