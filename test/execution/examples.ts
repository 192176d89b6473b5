import { IDS, type Caller } from './fixture.js';
import { caseOf, type Case } from './requests.js';

export interface Example {
  readonly name: string;
  readonly case: Case;
}

interface Options {
  readonly caller?: Caller;
  readonly accept?: string;
  readonly method?: 'GET' | 'POST';
}

const [BOT, OTHER] = IDS.bots as [string, string, ...string[]];
const [ACME] = IDS.organizations;
const FOREIGN = IDS.bots[5] as string;

/** A case of bodies that are sent in turn. */
function example(name: string, bodies: object | readonly object[], options: Options = {}): Example {
  const { caller = 'owner', accept, method = 'POST' } = options;
  const asks = (Array.isArray(bodies) ? (bodies as object[]) : [bodies as object]).map((body) => ({
    caller,
    accept,
    method,
    text: method === 'POST' ? JSON.stringify(body) : inQueryString(body),
  }));
  return { name, case: caseOf(asks) };
}

/** A case of one body whose JSON no JavaScript object can express. */
const raw = (name: string, text: string): Example => ({
  name,
  case: caseOf([{ caller: 'owner', accept: undefined, method: 'POST', text }]),
});

const inQueryString = (body: object): string =>
  new URLSearchParams(
    Object.entries(body).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  ).toString();

const CARDS = `query ($full: Boolean!) { bot(id: "${BOT}") { ...Header @include(if: $full) ...Card } }
  fragment Header on Bot { ...Name description } fragment Card on Bot { ...Name status } fragment Name on Bot { name }`;
const ALIASED = `query ($a: Boolean!) { x: me { id ...F @include(if: $a) } y: me { id ...F } } fragment F on User { name }`;
const TWICE = `query ($c: Boolean!) { me @include(if: $c) { ...F } me { id } } fragment F on User { name email }`;
const TWO_MUTATIONS = `mutation A($a: Boolean!) { ...F @include(if: $a) t: __typename } mutation B { ...F }
  fragment F on Mutation { updateBot(id: "${BOT}", input: { name: "changed" }) { version } }`;
const NULL_CONDITION = 'query ($c: Boolean = true) { me { id name @include(if: $c) } }';
const READ = 'query Read { me { name } }';
const RECORD =
  'mutation ($m: [MessageInput!]!) { recordMessages(botId: "20000000-0000-4000-8000-000000000001", messages: $m) { totalMessages } }';
const FITTING_MESSAGE = { conversationId: 'c', contactId: 'p', direction: 'INBOUND', status: 'DELIVERED' };
/** The cursor of the fixture's fourth message. */
const CURSOR = Buffer.from(`636595200000000.${IDS.messages[3] as string}`).toString('base64url');
const UPDATE = `mutation ($i: UpdateBotInput!) { updateBot(id: "${BOT}", input: $i) { name version } }`;

/** Requests that similar servers have answered wrongly in production, and variants of them. */
export const EXAMPLES: readonly Example[] = [
  // Fragments with conditions.
  example('a fragment that is skipped and spread', {
    query: '{ me { ...F @skip(if: true) ...F } } fragment F on User { name }',
  }),
  example('a fragment that is spread and skipped', {
    query: '{ me { ...F ...F @skip(if: true) } } fragment F on User { name }',
  }),
  example('a nested fragment in a conditional one', { query: CARDS, variables: { full: false } }),
  example('a nested fragment, under both conditions', [
    { query: CARDS, variables: { full: false } },
    { query: CARDS, variables: { full: true } },
  ]),
  example('a fragment under two aliases', { query: ALIASED, variables: { a: false } }),
  example('a field that is conditional once', [
    { query: TWICE, variables: { c: false } },
    { query: TWICE, variables: { c: true } },
  ]),
  example('an inline fragment that is conditional once', {
    query: '{ me { ... @skip(if: true) { name } ... on User { name } ... @include(if: false) { email } } }',
  }),
  example('nothing but what is skipped', { query: '{ me @skip(if: true) { id } }' }),
  example('selections in another order than the schema', {
    query: `{ bot(id: "${BOT}") { version ...F name } } fragment F on Bot { status id ... { description name } }`,
  }),
  example('fields of the same name that are merged', {
    query: `{ bot(id: "${BOT}") { organization { id } stats { botId } organization { name } } }`,
  }),

  // Mutations.
  example('a mutation that was left out before', [
    { query: TWO_MUTATIONS, operationName: 'A', variables: { a: false } },
    { query: TWO_MUTATIONS, operationName: 'B' },
  ]),
  example('a mutation after one that fails', {
    query: `mutation ($v: Int) { a: updateBot(id: "${BOT}", input: { name: "x", expectedVersion: $v }) { version }
      b: startBot(id: "${BOT}") { status } }`,
    variables: { v: 99 },
  }),
  example('a mutation before one that fails', {
    query: `mutation { b: startBot(id: "${OTHER}") { status } a: deleteBot(id: "${FOREIGN}") c: stopBot(id: "${OTHER}") { status } }`,
  }),
  example('a mutation that the caller may not make', {
    query: `mutation { createBot(input: { orgId: "${ACME}", name: "x" }) { name } }`,
  }, { caller: 'viewer' }), // prettier-ignore
  example('a mutation that makes something each time', {
    query: `mutation { createBot(input: { orgId: "${ACME}", name: "made" }) { name version status startedAt } }`,
  }),
  example('an input object that is a list', { query: UPDATE, variables: { i: [] } }),
  example('an input object that is text', { query: UPDATE, variables: { i: '{}' } }),
  example('an input object without fields', { query: UPDATE, variables: { i: {} } }),
  example('an input object with an unknown field', { query: UPDATE, variables: { i: { name: 'x', no: 1 } } }),
  example('an input object with a field called constructor', {
    query: UPDATE,
    variables: { i: { name: 'x', constructor: 1 } },
  }),
  raw(
    'an input object with a prototype',
    `{"query":${JSON.stringify(UPDATE)},"variables":{"i":{"__proto__":{"name":"x"}}}}`,
  ),
  example('a list of what does not fit', { query: RECORD, variables: { m: [1, 'x', null, {}, [], true] } }),
  example('one value for a list', {
    query: RECORD,
    variables: {
      m: { conversationId: 'c', contactId: 'p', direction: 'INBOUND', status: 'DELIVERED', text: '' },
    },
  }),
  example('an enum value that does not exist', {
    query: `mutation ($s: MessageStatus!) { updateMessageStatus(id: "${IDS.messages[0] as string}", status: $s) { status } }`,
    variables: { s: 'LOST' },
  }),
  example('a mutation by GET', { query: `mutation { stopBot(id: "${BOT}") { id } }` }, { method: 'GET' }),
  example('a mutation for a client that takes no JSON', {
    query: `mutation { startBot(id: "${BOT}") { version } }`,
  }, { accept: 'text/event-stream' }), // prettier-ignore

  // Messages.
  example('messages that are added, and then listed', {
    query: `mutation ($m: [MessageInput!]!) { addMessages(botId: "${BOT}", messages: $m) {
      messages { id text botId createdAt } stats { id totalMessages } bot { id name messages(first: 3) {
        edges { cursor node { id text } } nodes { text } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } } }`,
    variables: { m: ['one', 'two'].map((text) => ({ ...FITTING_MESSAGE, text })) },
  }),
  example('pages of messages, filtered, and after a place', {
    query: `query ($after: String, $status: MessageStatus) { bot(id: "${BOT}") {
      messages(first: 1) { ...Page } a: messages(after: $after) { ...Page } b: messages(status: $status) { ...Page }
      c: messages(conversationId: "c0", direction: INBOUND) { ...Page } } }
      fragment Page on MessageConnection { edges { cursor node { text status } } pageInfo { hasNextPage hasPreviousPage endCursor } }`,
    variables: { after: CURSOR, status: 'DELIVERED' },
  }),
  example('a cursor that no page gave', {
    query: `{ bot(id: "${BOT}") { name messages(after: "x") { nodes { id } } } me { name } }`,
  }),

  // Variables.
  example('null for a condition with a default', { query: NULL_CONDITION, variables: { c: null } }),
  example('null, absent and given for a condition with a default', [
    { query: NULL_CONDITION, variables: { c: null } },
    { query: NULL_CONDITION },
    { query: NULL_CONDITION, variables: { c: false } },
    { query: NULL_CONDITION, variables: { c: 'no' } },
  ]),
  example('null where a variable with a default stands for an argument', [
    {
      query: `query ($id: ID = "${BOT}", $p: Int = 2) { bot(id: $id) { name } bots(orgId: "${ACME}", page: $p) { page } }`,
      variables: { id: null, p: null },
    },
    {
      query: `query ($id: ID = "${BOT}", $p: Int = 2) { bot(id: $id) { name } bots(orgId: "${ACME}", page: $p) { page } }`,
      variables: {},
    },
  ]),
  example('an integer that is too large', {
    query: `query ($p: Int) { bots(orgId: "${ACME}", page: $p) { page } }`,
    variables: { p: 2 ** 31 },
  }),
  example('a page that does not exist, and sizes out of range', {
    query: `{ a: bots(orgId: "${ACME}", page: 9) { page items { id } } b: bots(orgId: "${ACME}", limit: 101) { page } }`,
  }),
  example('variables that are a list', { query: READ, variables: [] }),
  example('variables that are text', { query: READ, variables: '{}' }),
  example('variables that are a number', { query: READ, variables: 7 }),

  // Operations.
  example('an operation name that is empty', { query: READ, operationName: '' }),
  example('an operation name that is empty, for an operation without a name', {
    query: '{ me { id } }',
    operationName: '',
  }),
  example('right, wrong, empty and no operation names in turn', [
    { query: READ, operationName: 'Read' },
    { query: READ, operationName: 'Nobody' },
    { query: READ, operationName: '' },
    { query: READ, operationName: null },
    { query: READ },
  ]),
  example('an operation name that every object has', { query: READ, operationName: 'constructor' }),
  raw(
    'an operation called __proto__',
    '{"query":"query __proto__ { me { id } }","operationName":"__proto__"}',
  ),
  example('no name for one of several operations', {
    query: 'query A { me { id } } query B { me { name } }',
  }),
  example('a subscription', { query: 'subscription { me { id } }' }),

  // Documents and names.
  example('aliases that every object has', {
    query:
      '{ me { __proto__: name constructor: email toString: id hasOwnProperty: __typename valueOf: name } }',
  }),
  example('an alias __proto__ of an object', {
    query: `{ __proto__: bot(id: "${BOT}") { name __proto__: stats { totalMessages } } }`,
  }),
  example('fragments and variables with names that every object has', {
    query:
      'query ($__proto__: Boolean!, $constructor: Boolean = true) { me { ...toString @skip(if: $__proto__) ...constructor @include(if: $constructor) } } fragment toString on User { name } fragment constructor on User { email }',
  }),
  example('lines that end as on Windows, with an error', {
    query: `query {\r\n  me {\r\n    id\r\n  }\r\n  bot(id: "${IDS.missing}") {\r\n    id\r\n  }\r\n}`,
  }),
  example('commas, comments and a byte order mark', {
    query: '\ufeff,,{ me, { #} é 🤖\n id,, name } },',
  }),
  example('an unknown field', { query: '{ me { nobody } }' }),
  example('a syntax error', { query: '{ me { id }' }),
  example('a document of nothing', { query: '' }),
  example('a document of a comment', { query: '# nothing' }),
  example('a query that is no text', { query: 7 }),
  example('no query', { operationName: 'Read' }),
  example('many errors', {
    query: `{ ${Array.from({ length: 30 }, (_, n) => `a${n}: bot(id: "x${n}") { id }`).join(' ')} }`,
  }),
  example('many invalid fields', { query: `{ ${Array.from({ length: 30 }, (_, n) => `f${n}`).join(' ')} }` }),
  example('an expensive document', {
    query: '{ me { memberships { organization { bots { organization { bots { id name } } } } } } }',
  }),
  example('introspection', {
    query: '{ __schema { queryType { name } } __type(name: "Bot") { fields { name } } }',
  }),

  // Bodies.
  example('extensions that mean nothing', { query: READ, extensions: { any: { name: 'x' } }, more: 1 }),
  example('the hash of another document', {
    query: READ,
    extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } },
  }),
  example('a hash that nobody knows', { extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } }),
  raw('a body with a prototype', `{"query":"{ me { id } }","__proto__":{"operationName":"x"}}`),
  raw('a body that is a list', '[{"query":"{ me { id } }"}]'),
  raw('a body that is null', 'null'),
  raw('a body that is text', '"{ me { id } }"'),

  // Callers and formats.
  ...(['editor', 'viewer', 'stranger', 'deleted', 'none', 'invalid'] as const).map(
    (caller) =>
    example(`a bot and its organization to the caller "${caller}"`, {
      query: `{ bot(id: "${BOT}") { name organization { name } } me { name } }`,
    }, { caller }), // prettier-ignore
  ),
  ...['*/*', 'application/json', 'application/graphql-response+json', 'image/png', 'text/event-stream', '',
    'application/graphql-response+json;q=0.1, application/json;q=0.9', 'multipart/mixed'].map((accept) =>
    example(`a client that accepts "${accept}"`, [{ query: READ }, { query: '{ nobody }' }], { accept }),
  ), // prettier-ignore
  example('by GET', [{ query: READ }, { query: NULL_CONDITION, variables: { c: false } }], { method: 'GET' }),
];
