import {
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  type GraphQLInputType,
} from 'graphql';

import type { Choices } from '../execution/choices.js';
import { IDS } from '../execution/fixture.js';
import { toJson, valueFor, type Place } from '../execution/values.js';

/** Lengths around the limits of texts and lists, and far beyond them. */
const LENGTHS = [0, 1, 119, 120, 121, 200, 201, 255, 256, 499, 500, 501, 2_000, 2_001, 8_000, 8_001, 70_000];
const LIST_LENGTHS = [0, 1, 2, 499, 500, 501, 5_000, 100_000];

const [ORG] = IDS.organizations;
const [BOT] = IDS.bots;

/** Text that means something to a part of the server: to SQL, to the cache's keys and envelopes, to Redis, JSON or HTTP. */
const MARKERS = [
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udc00\ud800',
  'x\udfff',
  '\uffff',
  '\ufeff',
  '\u202e',
  '\u2028\u2029',
  '\u0001\u001f\u007f',
  '🤖'.repeat(60),
  'e\u0301'.repeat(60),
  'ﷺ'.repeat(100),
  '%',
  '%%_\\',
  '\\',
  "'; drop table bots; --",
  '$1',
  '${x}',
  ':',
  '*',
  '?[a-z]*',
  '{}',
  '}{',
  `bot:${BOT}`,
  `bot:${BOT}:gen`,
  `bots:org:${ORG}:page:1:limit:20:search:`,
  `{${ORG}}`,
  'sha256:0000000000000000000000000000000000000000000000000000000000000000',
  'org:everything',
  'everything:all:gen',
  '{"gen":"x","snapshot":"1:1:","expires":1,"version":1,"shape":"x","data":null}',
  '","data":',
  '+OK\r\n$-1\r\n',
  '1:2:3@x []',
  'null',
  'undefined',
  'NaN',
  '[object Object]',
  '{"a":"\\ud800"}',
  'a,b;c|d',
  '\r\nSet-Cookie: x=1',
  '2026-02-30T25:61:61Z',
  '+275760-09-13T00:00:00.001Z',
] as const;

const NUMBERS = [
  '0',
  '-0',
  '-1',
  '1.5',
  '2147483647',
  '2147483648',
  '-2147483649',
  '9007199254740993',
  '9223372036854775808',
  '1e21',
  '1e308',
  '1e400',
  '-1e400',
  '5e-324',
  `1${'0'.repeat(400)}`,
  '0.1e1',
];

const IDENTIFIERS = [
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  `${BOT?.replaceAll('-', '')}`,
  `{${BOT}}`,
  `urn:uuid:${BOT}`,
  `${BOT} `,
  `${BOT}\n`,
  `${BOT}\u0000`,
  `${BOT?.slice(0, -1)}١`,
  `${BOT?.toUpperCase()}`,
];

const KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  '',
  '\u0000',
  '\ud800',
  'name',
  'x'.repeat(250),
];

/** JSON of a value that no type asks for. */
export function hostileJson(choices: Choices): string {
  return choices.weighted<() => string>([
    [8, () => JSON.stringify(hostileText(choices))],
    [3, () => choices.pick(NUMBERS)],
    [2, () => choices.pick(['null', 'true', 'false', '[]', '{}', '[[]]', '[null]', '{"":{}}', '""'])],
    [1, () => listJson(choices)],
    [1, () => deepJson(choices)],
    [1, () => `{${JSON.stringify(choices.pick(KEYS))}:${choices.pick(NUMBERS)}}`],
    [1, () => objectJson(choices)],
  ])();
}

export function hostileText(choices: Choices): string {
  const marker = choices.pick([...MARKERS, ...IDENTIFIERS]);
  if (!choices.chance(25)) return marker;
  const length = choices.pick(LENGTHS);
  return choices.pick([
    'x'.repeat(length),
    marker.repeat(Math.ceil(length / marker.length)).slice(0, length),
    ' '.repeat(length) + marker,
    'ä'.repeat(length),
    `${marker}${'y'.repeat(length)}`,
  ]);
}

/** Long lists are rare, because they take most of the time. */
function listJson(choices: Choices): string {
  const length = choices.weighted([[30, 3], [10, 20], [2, -1]]) === -1 ? choices.pick(LIST_LENGTHS) : choices.below(20); // prettier-ignore
  const item = choices.pick(['{}', 'null', '"x"', '1', '[]', '{"name":1}', JSON.stringify(BOT)]);
  return `[${`${item},`.repeat(length).slice(0, -1)}]`;
}

function deepJson(choices: Choices): string {
  const depth = choices.pick([3, 60, 150, 199, 200, 201, 5_000]);
  return choices.chance(50)
    ? '['.repeat(depth) + ']'.repeat(depth)
    : '{"a":'.repeat(depth) + 'null' + '}'.repeat(depth);
}

function objectJson(choices: Choices): string {
  const count = choices.pick([2, 20, 1_000, 1_001]);
  return `{${Array.from({ length: count }, (_, n) => `"${choices.pick(['k', 'name', '__proto__'])}${n}":${n}`).join()}}`;
}

/** JSON that has the form of a type, in which some values are hostile. */
export function partlyHostileJson(type: GraphQLInputType, place: Place, choices: Choices): string {
  if (choices.chance(12)) return hostileJson(choices);
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    const item = partlyHostileJson(nullable.ofType, place, choices);
    const length = choices.weighted([[20, 1], [6, 2], [2, 30], [1, -1]]); // prettier-ignore
    return `[${`${item},`.repeat(length === -1 ? choices.pick(LIST_LENGTHS.slice(0, 6)) : length).slice(0, -1)}]`;
  }
  if (isInputObjectType(nullable)) {
    const entries = Object.values(nullable.getFields())
      .filter(({ type: its }) => (isNonNullType(its) ? !choices.chance(3) : choices.chance(60)))
      .map(
        (field) =>
          `${JSON.stringify(field.name)}:${partlyHostileJson(field.type, { field: place.field, argument: field.name }, choices)}`,
      );
    if (choices.chance(6)) entries.push(`${JSON.stringify(choices.pick(KEYS))}:${hostileJson(choices)}`);
    return `{${entries.join()}}`;
  }
  const isFree = !isEnumType(nullable);
  if (isFree && choices.chance(30)) return hostileJson(choices);
  return toJson(valueFor(type, place, choices, { misfit: 3, odd: 10 }));
}
