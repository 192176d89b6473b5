import * as fc from 'fast-check';
import { GraphQLNonNull, type GraphQLSchema } from 'graphql';

import { Choices, choiceLists } from './choices.js';
import { documentFor, type GeneratedDocument, type Variable } from './documents.js';
import { CALLERS, type Caller } from './fixture.js';
import { HOSTILE_TEXTS, toJson, valueFor, type Oddity } from './values.js';

/** An HTTP request that is sent to both sides. */
export interface Request {
  readonly method: 'GET' | 'POST';
  /** The query string with its question mark, or an empty string. */
  readonly search: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The parts of a response that are compared. */
export interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly body: string;
}

/** A request of one caller. */
export interface Ask {
  readonly caller: Caller;
  readonly accept: string | undefined;
  readonly method: 'GET' | 'POST';
  /** JSON of a POST's body, or the query string of a GET. */
  readonly text: string;
}

/** Requests that share a document, in the order in which they are sent repeatedly. */
export interface Case {
  readonly asks: readonly Ask[];
  /** Whether answers may depend on earlier requests, so that both sides must get the same number of requests. */
  readonly isStateful: boolean;
}

const MAX_ASKS = 3;

const ACCEPTS = [
  undefined,
  '*/*',
  'application/json',
  'application/graphql-response+json',
  'application/graphql-response+json; q=0.5, application/json',
  'application/json;q=0.9, */*;q=0.1',
];
const ODD_ACCEPTS = ['image/png', 'text/event-stream', 'multipart/mixed', 'text/html;q=0', '', 'a/b/c'];

const VALID: Oddity = { misfit: 0, odd: 6 };
const ODD: Oddity = { misfit: 15, odd: 25 };

/**
 * Cases for a schema: most are valid documents that are executed.
 * @param kind of the (first) operation of each document
 */
export const casesFor = (schema: GraphQLSchema, kind: 'query' | 'mutation'): fc.Arbitrary<Case> =>
  fc
    .record({
      document: choiceLists(180),
      asks: fc.array(choiceLists(60), { minLength: 1, maxLength: MAX_ASKS }),
    })
    .map(({ document, asks }) => {
      const choices = new Choices(document);
      const generated = documentFor(schema, choices, { kind, odd: choices.chance(12) });
      const written = asks.map((each) => askOf(generated, new Choices(each)));
      return caseOf(written);
    });

export function caseOf(asks: readonly Ask[]): Case {
  const texts = asks.map(({ text }) => text);
  return { asks, isStateful: texts.some((text) => /mutation|persistedQuery/.test(text)) };
}

function askOf(document: GeneratedDocument, choices: Choices): Ask {
  const odd = choices.chance(15);
  const caller = choices.weighted<Caller>([
    [50, 'owner'],
    [16, 'editor'],
    [14, 'viewer'],
    [8, 'stranger'],
    ...CALLERS.slice(4).map((each) => [4, each] as const),
  ]);
  const accept = choices.pick(choices.chance(4) ? ODD_ACCEPTS : ACCEPTS);
  // Mutations need POST.
  const method = choices.chance(/mutation/.test(document.text) ? 3 : 12) ? 'GET' : 'POST';
  const parts: [key: string, json: string][] = [['query', JSON.stringify(document.text)]];
  const variables = variablesJson(document.variables, choices, odd);
  if (variables !== undefined) parts.push(['variables', variables]);
  const operationName = operationNameJson(document.operations, choices, odd);
  if (operationName !== undefined) parts.push(['operationName', operationName]);
  if (odd && choices.chance(40)) change(parts, choices);
  const text =
    method === 'POST'
      ? `{${parts.map(([key, json]) => `${JSON.stringify(key)}:${json}`).join(',')}}`
      : new URLSearchParams(parts.map(([key, json]) => [key, inQueryString(key, json)])).toString();
  return { caller, accept, method, text };
}

function variablesJson(variables: readonly Variable[], choices: Choices, odd: boolean): string | undefined {
  const entries: string[] = [];
  for (const { name, type, place, hasDefault } of variables) {
    if (hasDefault ? choices.chance(50) : odd && choices.chance(5)) continue;
    const json =
      hasDefault && choices.chance(odd ? 20 : 4)
        ? 'null'
        : toJson(valueFor(nonNullMostly(type, choices), place, choices, odd ? ODD : VALID));
    entries.push(`${JSON.stringify(name)}:${json}`);
  }
  if (odd && choices.chance(10)) entries.push('"__proto__":{"b0":true}');
  if (odd && choices.chance(10)) entries.push('"unknown":1');
  if (entries.length === 0 && !choices.chance(20)) return choices.chance(20) ? 'null' : undefined;
  return `{${entries.join(',')}}`;
}

/** Avoids null conditions, because they would make most requests fail as a whole. */
const nonNullMostly = (type: Variable['type'], choices: Choices): Variable['type'] =>
  'name' in type && type.name === 'Boolean' && !choices.chance(6) ? new GraphQLNonNull(type) : type;

function operationNameJson(
  operations: readonly (string | undefined)[],
  choices: Choices,
  odd: boolean,
): string | undefined {
  const [first] = operations;
  if (odd && choices.chance(30)) return choices.pick(['""', 'null', '"Nobody"', '7', '"__proto__"']);
  if (operations.length === 1 && !choices.chance(50)) return undefined;
  const chosen = choices.pick(operations) ?? first;
  return chosen === undefined ? undefined : JSON.stringify(chosen);
}

/** Adds an unknown member to a body, or changes the form of one. */
function change(parts: [string, string][], choices: Choices): void {
  const set = (key: string, json: string) => {
    const at = parts.findIndex(([each]) => each === key);
    if (at < 0) parts.push([key, json]);
    else parts[at] = [key, json];
  };
  const [key, json] = choices.pick<readonly [string, string]>([
    ['variables', '[]'],
    ['variables', '"{}"'],
    ['variables', '"x"'],
    ['variables', '7'],
    ['variables', '[{"b0":true}]'],
    ['variables', '""'],
    ['variables', 'false'],
    ['query', '7'],
    ['query', '""'],
    ['query', 'null'],
    ['query', '["{me{id}}"]'],
    ['query', '"#"'],
    ['extensions', '{}'],
    ['extensions', 'null'],
    ['extensions', '[]'],
    ['extensions', '"{}"'],
    ['extensions', '"x"'],
    ['extensions', '{"persistedQuery":{"version":1,"sha256Hash":"ab"}}'],
    ['extensions', '{"persistedQuery":null}'],
    ['extensions', '{"persistedQuery":{"version":2,"sha256Hash":"ab"}}'],
    ['unknown', '{"query":"{ me { email } }"}'],
    ['constructor', '{"prototype":{"x":1}}'],
    ['__proto__', '{"query":"{ me { email } }"}'],
    ['operationName', JSON.stringify(choices.pick(HOSTILE_TEXTS))],
    ['operationName', '{}'],
  ]);
  set(key, json);
}

/** In a query string, strings are plain text and all other values JSON. */
function inQueryString(key: string, json: string): string {
  const isText = (key === 'query' || key === 'operationName') && json.startsWith('"');
  return isText ? (JSON.parse(json) as string) : json;
}

/**
 * The request of an ask at its n-th time. Requests that differ in spaces, or in an unknown parameter, are different keys of
 * a response cache, and the same document for a document cache.
 */
export function requestOf(
  { method, text, accept }: Ask,
  authorization: string | undefined,
  variant: number,
): Request {
  const headers: Record<string, string> = {};
  if (accept !== undefined) headers.accept = accept;
  if (authorization !== undefined) headers.authorization = authorization;
  if (method === 'GET') return { method, search: `?${text}&n=${variant}`, headers, body: undefined };
  headers['content-type'] = 'application/json';
  return { method, search: '', headers, body: text + ' '.repeat(variant) };
}
