import type * as fc from 'fast-check';
import type { GraphQLSchema } from 'graphql';

import { Choices, choiceLists } from '../execution/choices.js';
import { documentFor } from '../execution/documents.js';
import { CALLERS, type Caller } from '../execution/fixture.js';
import { hostileJson, hostileText, partlyHostileJson } from './hostile-values.js';

/** A request as it is sent. */
export interface FuzzRequest {
  readonly caller: Caller;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

const METHODS = ['PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'PROPFIND', 'TRACE', 'get'];
const PATHS = [
  '/graphql/',
  '/%67raphql',
  '//graphql',
  '/graphql%00',
  '/graphql;x=1',
  '/graphql/x',
  '/',
  '/%',
  '/%ff',
  '/..%2f..%2fetc/passwd',
  '/healthz',
  '/readyz',
  '/readyz?exclude=%00',
  '/metrics',
  '/console',
  '/console/state',
  '/admin/cache/invalidate',
  `/${'x'.repeat(3_000)}`,
  '/__proto__',
];
const TYPES = [
  'application/json; charset=utf-8',
  'application/json;charset="UTF-8"',
  'application/json; charset=utf-16le',
  'application/json; charset=\u00e4',
  'APPLICATION/JSON',
  'application/json, text/plain',
  'application/graphql',
  'application/graphql-response+json',
  'text/plain',
  'multipart/form-data; boundary=x',
  'application/x-www-form-urlencoded',
  '',
  ';',
  'a'.repeat(5_000),
];
const HEADERS: readonly (readonly [name: string, values: readonly string[]])[] = [
  ['accept', ['', '*/*', 'text/html', 'application/json;q=2', ';;;', '\u00ff', 'a/b,'.repeat(2_000), 'image/png']],
  ['authorization', ['', 'Bearer', 'bearer x', 'Bearer  ', 'Basic eA==', `Bearer ${'x'.repeat(9_000)}`, 'Bearer a.b.c', '\u00fc']],
  ['content-encoding', ['gzip', 'br', 'identity', 'x', 'gzip, gzip']],
  ['x-request-id', ['', '\u00ff', 'x'.repeat(300), '{}', '../..']],
  ['x-cache-report', ['1', '0', 'true', '\u00e9']],
  ['x-request-timeout-ms', ['0', '-1', '1e9', 'NaN', '5', ' ']],
  ['idempotency-key', ['', 'x', '\u00ff', 'k'.repeat(300), '"a"']],
  ['traceparent', ['00-0-0-0', '', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`, `ff-${'0'.repeat(32)}-${'0'.repeat(16)}-ff`]],
  ['if-none-match', ['*', '"x"', 'W/"', '"'.repeat(500)]],
  ['origin', ['null', 'https://evil.example', '\u00e4']],
  ['x-forwarded-for', ['1.2.3.4', '::1, x', ','.repeat(500)]],
  ['apollo-require-preflight', ['', 'true']],
  ['accept-encoding', ['gzip', 'br;q=x', '*']],
  ['upgrade-insecure-requests', ['1']],
  ['cookie', ['a=b; '.repeat(300)]],
]; // prettier-ignore

/** Requests for a schema: mostly documents that are executed with hostile values, and some that are hostile altogether. */
export function fuzzRequests(schema: GraphQLSchema): fc.Arbitrary<FuzzRequest> {
  return choiceLists(260).map((list) => requestOf(schema, new Choices(list)));
}

function requestOf(schema: GraphQLSchema, choices: Choices): FuzzRequest {
  const caller = choices.weighted<Caller>([
    [50, 'owner'],
    [12, 'editor'],
    [8, 'stranger'],
    ...CALLERS.filter((each) => !['owner', 'editor', 'stranger'].includes(each)).map(
      (each) => [4, each] as const,
    ),
  ]);
  const kind = choices.chance(30) ? 'mutation' : 'query';
  const document = documentFor(schema, choices, { kind, odd: choices.chance(30) });
  const query = choices.chance(25) ? mangled(document.text, choices) : document.text;
  const variables = document.variables
    .filter(() => !choices.chance(4))
    .map(({ name, type, place }) => `${JSON.stringify(name)}:${partlyHostileJson(type, place, choices)}`);
  const [operationName] = document.operations;
  const parts = [`"query":${JSON.stringify(query)}`, `"variables":{${variables.join()}}`];
  if (operationName !== undefined) parts.push(`"operationName":${JSON.stringify(operationName)}`);
  if (choices.chance(8)) parts.push(strangePart(choices));
  const headers = strangeHeaders(choices);
  if (choices.chance(10)) {
    const method = choices.chance(20) ? choices.pick(METHODS) : 'GET';
    const text = (json: string) => json.slice(json.indexOf(':') + 1);
    const search = new URLSearchParams({ query, variables: text(parts[1] ?? '') });
    if (choices.chance(20)) search.append(choices.pick(['query', 'extensions', 'variables', 'x']), hostileText(choices).slice(0, 2_000)); // prettier-ignore
    // Servers refuse longer addresses before they read them.
    const path = `/graphql?${String(search).slice(0, 12_000)}`;
    return { caller, method, path, headers, body: undefined };
  }
  const method = choices.chance(2) ? choices.pick(METHODS) : 'POST';
  const path = choices.chance(3) ? choices.pick(PATHS) : '/graphql';
  const type = choices.chance(4) ? choices.pick(TYPES) : 'application/json';
  const json = `{${parts.join()}}`;
  const body = choices.chance(8) ? brokenBody(json, choices) : Buffer.from(json);
  return { caller, method, path, headers: { 'content-type': type, ...headers }, body };
}

function strangeHeaders(choices: Choices): Record<string, string> {
  const headers: Record<string, string> = {};
  for (
    let count = choices.weighted([
      [85, 0],
      [12, 1],
      [3, 3],
    ]);
    count > 0;
    count--
  ) {
    // prettier-ignore
    const [name, values] = choices.pick(HEADERS);
    headers[name] = choices.pick(values);
  }
  return headers;
}

const strangePart = (choices: Choices): string =>
  choices.pick([
    `"variables":${hostileJson(choices)}`,
    `"query":${hostileJson(choices)}`,
    `"operationName":${hostileJson(choices)}`,
    `"extensions":${hostileJson(choices)}`,
    `"extensions":{"persistedQuery":${hostileJson(choices)}}`,
    `"extensions":{"persistedQuery":{"version":1,"sha256Hash":${hostileJson(choices)}}}`,
    `"__proto__":${hostileJson(choices)}`,
    `${JSON.stringify(hostileText(choices).slice(0, 1_000))}:1`,
  ]);

/** A document with a hostile value in the place of a text or number, or with other mistakes. */
function mangled(text: string, choices: Choices): string {
  const values = [...text.matchAll(/"(?:[^"\\]|\\.)*"|(?<=: )-?\d+/g)];
  if (values.length > 0 && choices.chance(60)) {
    const { 0: value, index } = choices.pick(values);
    return text.slice(0, index) + literal(choices) + text.slice(index + value.length);
  }
  const at = choices.below(Math.max(1, text.length));
  return choices.pick([
    text.slice(0, at) + hostileText(choices).slice(0, 500) + text.slice(at),
    text.slice(0, at) + text.slice(at + choices.below(10)),
    text.replaceAll('{', '{ __typename '),
    text.replaceAll('}', ''),
    `${text} ${text}`,
    `${'{ me '.repeat(choices.pick([2, 90, 110]))}{ id }${' }'.repeat(choices.pick([2, 90, 110]))}`,
    `{ ${Array.from({ length: choices.pick([59, 60, 61, 300]) }, (_, n) => `a${n}: me { id }`).join(' ')} }`,
    `query (${Array.from({ length: choices.pick([5, 500]) }, (_, n) => `$v${n}: Int`).join(' ')}) { me { id } }`,
    `{ me { ${'id '.repeat(choices.pick([100, 4_000, 11_000]))}} }`,
    `{ me { id ${'@include(if: true) '.repeat(choices.pick([3, 300]))}} }`,
    `{ me { ...A } } ${Array.from({ length: 60 }, (_, n) => `fragment ${'A'.repeat(n + 1)} on User { id ...${'A'.repeat(n + 2)} }`).join(' ')}`,
    hostileText(choices),
    '',
  ]);
}

/** A hostile value as documents contain it. */
function literal(choices: Choices): string {
  const json = hostileJson(choices);
  if (choices.chance(20)) return `"""${hostileText(choices).slice(0, 3_000).replaceAll('"""', '')}"""`;
  // Keys of objects have no quotation marks in documents.
  return json.startsWith('{') ? json.replaceAll(/"(\w+)":/g, '$1:') : json;
}

function brokenBody(json: string, choices: Choices): Buffer {
  const at = choices.below(Math.max(1, json.length));
  return choices.pick<() => Buffer>([
    () => Buffer.from(json.slice(0, at)),
    () => Buffer.from(json.slice(at)),
    () => Buffer.from(`[${json},${json}]`),
    () => Buffer.from(`${json}${json}`),
    () => Buffer.from(`\ufeff${json}`),
    () => Buffer.from(json, 'utf16le'),
    () => Buffer.from(json.replaceAll('"', "'")),
    () => Buffer.from(hostileJson(choices)),
    () => Buffer.concat([Buffer.from(json.slice(0, at)), Buffer.from([0xff, 0xc0, 0x00, 0xed, 0xa0, 0x80]), Buffer.from(json.slice(at))]), // prettier-ignore
    () =>
      Buffer.from(
        json.slice(0, at) +
          choices.pick(['\u0000', '\\', '"', '{', ']', ',', ':', '\\u', '\\ud800']) +
          json.slice(at),
      ),
    () => Buffer.alloc(0),
  ])();
}
