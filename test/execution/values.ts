import {
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isScalarType,
  type GraphQLInputType,
} from 'graphql';

import type { Choices } from './choices.js';
import { IDS } from './fixture.js';

/** The source text of an enum literal. */
export class Name {
  constructor(readonly text: string) {}
}

/** An input object. A list of entries, because its keys may be `__proto__`, or the same twice. */
export class Entries {
  constructor(readonly list: readonly (readonly [key: string, value: Value])[]) {}
}

/** A variable in a document. */
export class Reference {
  constructor(readonly name: string) {}
}

export type Value = null | boolean | number | string | Name | Entries | Reference | readonly Value[];

/** The names around a value's place, by which a fitting value is chosen. */
export interface Place {
  readonly field: string;
  readonly argument: string;
}

/** Text that tries to be executed where it stands in a document. */
export const HOSTILE_TEXTS = [
  '__proto__',
  'constructor',
  '${globalThis.evaluated = 1}',
  "'+(globalThis.evaluated=1)+'",
  '`);globalThis.evaluated=1;(`',
  '__MAGIC_VARIABLE__ globalThis.evaluated=1',
] as const;

const TEXTS = [
  'bot',
  'B',
  '1',
  '',
  'é 🤖',
  '%',
  '_',
  '\\',
  '"quoted"',
  'two\nlines',
  '\r\n',
  '\u2028',
  ' x ',
];
const ODD_TEXTS = ['x'.repeat(130), '\u0000', '\ud800', ...HOSTILE_TEXTS];
const ODD_IDS = ['x', '', '__proto__', ` ${IDS.bots[0]}`, 5, 'constructor'];
const HOSTILE_KEYS = ['__proto__', 'constructor', 'unknown', 'toString'];

interface Numbers {
  readonly likely: readonly number[];
  readonly odd: readonly number[];
}
const SIZES: Numbers = { likely: [20, 1, 2, 5, 100, 3], odd: [0, 101, -1] };
const NUMBERS: Readonly<Record<string, Numbers>> = {
  page: { likely: [1, 1, 2, 3], odd: [0, -1, 2_147_483_647] },
  limit: SIZES,
  first: SIZES,
  last: SIZES,
  expectedVersion: { likely: [1, 2, 3, 1], odd: [0, -1, 99] },
  responseTimeMs: { likely: [0, 10, 250], odd: [-5] },
};
const ANY_NUMBERS: Numbers = { likely: [1, 0, 7, 100], odd: [-1, 2_147_483_647] };

/** Ids by the names around them; an argument with an unknown name takes any id. */
function idsFor({ field, argument }: Place): readonly string[] {
  const { organizations, bots, messages, missing } = IDS;
  const [home, other] = organizations;
  if (/org/i.test(argument) || (argument === 'id' && /organization/i.test(field))) {
    return [home, home, home, home, home, other, missing];
  }
  if (argument === 'id' && /message/i.test(field)) return [...messages, missing];
  if (/^node$/i.test(field)) return [...bots, ...organizations, ...messages, missing];
  return [...bots.slice(0, 4), ...bots, missing, (bots[1] as string).toUpperCase()];
}

/** Texts that match rows of the fixture, by argument. */
const TEXTS_OF: Readonly<Record<string, readonly string[]>> = {
  after: IDS.messages
    .slice(1, 4)
    .map((id, n) => Buffer.from(`${cursorInstant(n + 2)}.${id}`).toString('base64url')),
  conversationId: ['c0', 'c1', 'c2'],
};

/** When the n-th message of the fixture was created, as in cursors: microseconds since 2000. */
function cursorInstant(n: number): string {
  return `${Date.UTC(2020, 2, n) - Date.UTC(2000, 0, 1)}000`;
}

/** How many of 100 values their type, or the resolver, refuses. */
export interface Oddity {
  /** Of another type, null where there must be one, with unknown keys. */
  readonly misfit: number;
  /** Out of range, malformed. */
  readonly odd: number;
}

/** A value for an input type. */
export function valueFor(type: GraphQLInputType, place: Place, choices: Choices, oddity: Oddity): Value {
  if (choices.chance(oddity.misfit)) return misfit(choices);
  if (!isNonNullType(type) && choices.chance(12)) return null;
  const nullable = getNullableType(type);
  if (isListType(nullable)) {
    const item = () => valueFor(nullable.ofType, place, choices, oddity);
    // One value stands for a list of it.
    if (choices.chance(15)) return item();
    return Array.from({ length: choices.weighted([[8, 1], [4, 2], [1, 0], [1, 12]]) }, item); // prettier-ignore
  }
  if (isEnumType(nullable)) return new Name(choices.pick(nullable.getValues()).name);
  if (isInputObjectType(nullable)) return objectFor(nullable, place, choices, oddity);
  if (!isScalarType(nullable)) return null;
  switch (nullable.name) {
    case 'ID':
      return choices.chance(oddity.odd) ? choices.pick(ODD_IDS) : choices.pick(idsFor(place));
    case 'Int': {
      const { likely, odd } = NUMBERS[place.argument] ?? ANY_NUMBERS;
      return choices.pick(choices.chance(oddity.odd) ? odd : likely);
    }
    case 'Float':
      return choices.pick([1, 0.5, -1.25, 1e21]);
    case 'Boolean':
      return choices.chance(50);
    case 'DateTime':
      return '2020-02-02T00:00:00.000Z';
    default:
      return choices.pick(choices.chance(oddity.odd) ? ODD_TEXTS : (TEXTS_OF[place.argument] ?? TEXTS));
  }
}

function objectFor(
  type: Extract<ReturnType<typeof getNullableType>, { getFields(): unknown }>,
  { field }: Place,
  choices: Choices,
  oddity: Oddity,
): Value {
  const entries: [string, Value][] = [];
  if (!isInputObjectType(type)) return null;
  for (const each of Object.values(type.getFields())) {
    const isRequired = isNonNullType(each.type) && each.defaultValue === undefined;
    if (!(isRequired ? !choices.chance(oddity.misfit) : choices.chance(40))) continue;
    entries.push([each.name, valueFor(each.type, { field, argument: each.name }, choices, oddity)]);
  }
  if (choices.chance(oddity.misfit)) entries.push([choices.pick(HOSTILE_KEYS), choices.pick(['x', 1, null])]);
  return new Entries(entries);
}

const misfit = (choices: Choices): Value =>
  choices.pick<Value>([
    null,
    'x',
    1.5,
    true,
    2_147_483_648,
    new Name('RUNNING'),
    new Name('NOBODY'),
    [],
    new Entries([]),
    new Entries([['__proto__', new Entries([])]]),
    [['x']],
    -1e300,
  ]);

/** A value as a document contains it. */
export function toLiteral(value: Value): string {
  if (value instanceof Name) return value.text;
  if (value instanceof Reference) return `$${value.name}`;
  if (value instanceof Entries) {
    return `{${value.list.map(([key, each]) => `${key}: ${toLiteral(each)}`).join(', ')}}`;
  }
  if (Array.isArray(value)) return `[${(value as Value[]).map(toLiteral).join(', ')}]`;
  return JSON.stringify(value);
}

/** A value as a request's variables contain it. */
export function toJson(value: Value): string {
  if (value instanceof Name) return JSON.stringify(value.text);
  if (value instanceof Reference) return 'null';
  if (value instanceof Entries) {
    return `{${value.list.map(([key, each]) => `${JSON.stringify(key)}:${toJson(each)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${(value as Value[]).map(toJson).join(',')}]`;
  return JSON.stringify(value);
}
