import {
  doTypesOverlap,
  getNamedType,
  getNullableType,
  isCompositeType,
  isLeafType,
  isListType,
  isNonNullType,
  isUnionType,
  type GraphQLArgument,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
} from 'graphql';

import type { Choices } from './choices.js';
import { Entries, Reference, toLiteral, valueFor, type Oddity, type Place, type Value } from './values.js';

export interface Variable {
  readonly name: string;
  readonly type: GraphQLInputType;
  readonly place: Place;
  readonly hasDefault: boolean;
}

export interface GeneratedDocument {
  readonly text: string;
  /** The names of its operations; undefined for one without a name. */
  readonly operations: readonly (string | undefined)[];
  readonly variables: readonly Variable[];
}

type Kind = 'query' | 'mutation' | 'subscription';

interface Fragment {
  readonly name: string;
  readonly type: GraphQLCompositeType;
  readonly text: string;
  /** The variables in it and in the fragments it spreads. */
  readonly variables: ReadonlySet<string>;
  /** Whether it contains a list whose length the document does not limit. */
  readonly hasList: boolean;
  readonly levels: number;
}

/** The nesting that a place of a document still allows. */
interface Room {
  readonly levels: number;
  /** Whether the place is inside a list already: one list in another is too expensive for the server. */
  readonly inList: boolean;
}

const LEVELS = 6;
const MAX_FRAGMENTS = 6;
const DIRECTIVE_PERCENT = 22;
const VALID: Oddity = { misfit: 0, odd: 6 };
const ODD: Oddity = { misfit: 12, odd: 25 };

const ALIASES = ['a', 'b', 'c', '__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', '_'];
const SEPARATORS = [' ', '\n', ', ', '\r\n', ' #comment } é 🤖 ${x}\n', '\t', ',,\r', '\ufeff ', '\n\n  '];
const FLAGS = [
  { name: 'b0', type: 'Boolean!', initial: undefined },
  { name: 'b1', type: 'Boolean! = true', initial: true },
  { name: 'b2', type: 'Boolean = false', initial: false },
  { name: 'constructor', type: 'Boolean = true', initial: true },
] as const;

/** A document for a schema; most are valid. */
export function documentFor(
  schema: GraphQLSchema,
  choices: Choices,
  options: { readonly kind: 'query' | 'mutation'; readonly odd: boolean },
): GeneratedDocument {
  return new DocumentWriter(schema, choices, options.odd).write(options.kind);
}

/** Writes one document. A name has the same meaning everywhere in it, so that its fields can be merged. */
class DocumentWriter {
  private readonly fragments: Fragment[] = [];
  private readonly variables = new Map<string, Variable & { readonly declaration: string }>();
  /** `Type.field` → its arguments wherever it has no alias. */
  private readonly unaliased = new Map<string, { text: string; variables: ReadonlySet<string> }>();
  /** Alias → its field, with arguments. */
  private readonly aliased = new Map<string, string>();
  private readonly separator: string;
  /** The variables of the operation or fragment that is being written. */
  private used = new Set<string>();
  private hasList = false;

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly choices: Choices,
    private readonly odd: boolean,
  ) {
    this.separator = choices.chance(30) ? choices.pick(SEPARATORS) : ' ';
  }

  write(kind: 'query' | 'mutation'): GeneratedDocument {
    const { choices, separator } = this;
    const count = choices.weighted([[85, 1], [10, 2], [5, 3]]); // prettier-ignore
    const operations: (string | undefined)[] = [];
    const parts: string[] = [];
    for (let n = 0; n < count; n++) {
      const ofKind: Kind =
        this.odd && choices.chance(6) ? 'subscription' : n > 0 && choices.chance(50) ? 'query' : kind;
      const name = this.operationName(count, n);
      operations.push(name);
      parts.push(this.operation(ofKind, name));
    }
    for (const { name, type, text } of this.fragments) {
      parts.push(`fragment ${name} on ${type.name}${separator}${text}`);
    }
    if (choices.chance(15)) parts.reverse();
    const text = parts.join(separator);
    const written = choices.chance(4) ? `\ufeff${text}\r\n` : text;
    return {
      text: this.odd && choices.chance(25) ? this.damaged(written) : written,
      operations,
      variables: [...this.variables.values()],
    };
  }

  private operationName(count: number, n: number): string | undefined {
    const { choices } = this;
    if (count === 1 && !choices.chance(40)) return undefined;
    if (this.odd && choices.chance(10)) return undefined;
    return `${choices.pick(['Read', 'A', '__proto__', 'constructor', 'toString'])}${n === 0 ? '' : n}`;
  }

  private operation(kind: Kind, name: string | undefined): string {
    const { choices } = this;
    const root =
      { query: this.schema.getQueryType(), mutation: this.schema.getMutationType(), subscription: null }[
        kind
      ] ?? this.schema.getQueryType();
    if (!root) throw new Error('The schema must have queries');
    this.used = new Set();
    const selections = this.selectionSet(root, { levels: LEVELS, inList: false });
    const declared = [...this.used].map((each) => this.variables.get(each)?.declaration ?? '');
    if (this.odd && choices.chance(4)) declared.push('$unused: Int');
    if (this.odd && choices.chance(4)) declared.pop();
    const variables = declared.length > 0 ? `(${declared.join(this.separator)})` : '';
    const isShort = kind === 'query' && name === undefined && variables === '' && choices.chance(70);
    return isShort ? selections : `${kind} ${name ?? ''}${variables}${this.separator}${selections}`;
  }

  private selectionSet(type: GraphQLCompositeType, room: Room): string {
    const count = 1 + this.choices.below(room.levels >= LEVELS - 2 ? 4 : 3);
    const parts = Array.from({ length: count }, () => this.selection(type, room));
    return `{${this.separator}${parts.join(this.separator)}${this.separator}}`;
  }

  private selection(type: GraphQLCompositeType, room: Room): string {
    const kind = this.choices.weighted([
      [62, 'field'],
      [12, 'spread'],
      [12, 'fragment'],
      [14, 'inline'],
    ] as const);
    if (kind === 'inline' && room.levels > 1) {
      const condition = this.choices.chance(30) ? '' : `on ${this.choices.pick(this.overlapping(type)).name}`;
      const inside = condition === '' ? type : this.typeNamed(condition.slice(3));
      const directives = this.directives();
      return `... ${condition}${directives} ${this.selectionSet(inside, { ...room, levels: room.levels - 1 })}`;
    }
    if (kind === 'fragment' && room.levels > 1 && this.fragments.length < MAX_FRAGMENTS) {
      return this.spread(this.newFragment(this.choices.pick(this.overlapping(type)), room));
    }
    if (kind === 'spread') {
      const fitting = this.fragments.filter(
        (each) =>
          doTypesOverlap(this.schema, each.type, type) &&
          each.levels <= room.levels &&
          !(each.hasList && room.inList),
      );
      if (fitting.length > 0) return this.spread(this.choices.pick(fitting));
    }
    return this.field(type, room);
  }

  /** Spreads of one fragment, with conditions of their own. */
  private spread(fragment: Fragment): string {
    for (const name of fragment.variables) this.used.add(name);
    if (fragment.hasList) this.hasList = true;
    const times = this.choices.weighted([[75, 1], [20, 2], [5, 3]]); // prettier-ignore
    return Array.from({ length: times }, () => `...${fragment.name}${this.directives()}`).join(
      this.separator,
    );
  }

  private newFragment(type: GraphQLCompositeType, room: Room): Fragment {
    const [usedOutside, hadList] = [this.used, this.hasList];
    this.used = new Set();
    this.hasList = false;
    const text = this.selectionSet(type, { ...room, levels: room.levels - 1 });
    const prefix = this.choices.pick(['F', 'F', 'Card', '__proto__', 'constructor', 'hasOwnProperty']);
    const fragment: Fragment = {
      name: `${prefix}${this.fragments.length === 0 ? '' : this.fragments.length}`,
      type,
      text,
      variables: this.used,
      hasList: this.hasList,
      levels: room.levels,
    };
    this.fragments.push(fragment);
    this.used = usedOutside;
    this.hasList ||= hadList;
    return fragment;
  }

  private field(type: GraphQLCompositeType, room: Room): string {
    const { choices } = this;
    const isRoot = type === this.schema.getQueryType();
    if (isRoot && choices.chance(3)) return this.introspection();
    const fields = this.fieldsOf(type, room);
    if (fields.length === 0 || choices.chance(5)) {
      return `${choices.chance(20) ? `t${choices.below(2)}: ` : ''}__typename${this.directives()}`;
    }
    if (this.odd && choices.chance(3)) return 'unknown';
    const field = choices.pick(fields);
    const named = choices.chance(25) ? this.aliasedField(type, field) : this.plainField(type, field);
    const directives = this.directives();
    const inside = getNamedType(field.type);
    if (!isCompositeType(inside)) return named + directives;
    const isList = isListType(getNullableType(field.type));
    if (isList || isPaged(field)) this.hasList = true;
    const selections = this.selectionSet(inside, {
      levels: room.levels - 1,
      inList: room.inList || isList || isPaged(field),
    });
    return `${named}${directives} ${selections}`;
  }

  /** Leaves first, so that the simplest choice is a simple document. */
  private fieldsOf(type: GraphQLCompositeType, room: Room): GraphQLField<unknown, unknown>[] {
    if (isUnionType(type)) return [];
    const all = Object.values(type.getFields());
    const isLeaf = (field: GraphQLField<unknown, unknown>) => isLeafType(getNamedType(field.type));
    const nested = all.filter(
      (field) =>
        !isLeaf(field) && room.levels > 1 && !(room.inList && isPaged(field)) && !this.isDear(field, room),
    );
    return [...all.filter(isLeaf), ...nested.sort((a, b) => a.args.length - b.args.length)];
  }

  /** A list in a list is too expensive, but for the items of a page. */
  private isDear(field: GraphQLField<unknown, unknown>, room: Room): boolean {
    if (!room.inList || !isListType(getNullableType(field.type))) return false;
    return !/^(items|nodes|edges)$/.test(field.name) && !this.choices.chance(2);
  }

  private plainField(type: GraphQLCompositeType, field: GraphQLField<unknown, unknown>): string {
    const key = `${type.name}.${field.name}`;
    let known = this.unaliased.get(key);
    if (!known) this.unaliased.set(key, (known = this.argumentsOf(field)));
    for (const name of known.variables) this.used.add(name);
    return field.name + known.text;
  }

  private aliasedField(type: GraphQLCompositeType, field: GraphQLField<unknown, unknown>): string {
    const { text, variables } = this.argumentsOf(field);
    const meaning = `${type.name}.${field.name}${text}`;
    let alias = this.odd && this.choices.chance(5) ? 'name' : this.choices.pick(ALIASES);
    while ((this.aliased.get(alias) ?? meaning) !== meaning) alias += '_';
    this.aliased.set(alias, meaning);
    for (const name of variables) this.used.add(name);
    return `${alias}: ${field.name}${text}`;
  }

  private argumentsOf(field: GraphQLField<unknown, unknown>): {
    text: string;
    variables: ReadonlySet<string>;
  } {
    const { choices } = this;
    const variables = new Set<string>();
    const given: string[] = [];
    for (const argument of field.args) {
      const isRequired = isNonNullType(argument.type) && argument.defaultValue === undefined;
      if (isRequired ? this.odd && choices.chance(3) : !choices.chance(45)) continue;
      given.push(`${argument.name}: ${toLiteral(this.argument(field.name, argument, variables))}`);
    }
    if (this.odd && choices.chance(3)) given.push('unknown: 1');
    return { text: given.length > 0 ? `(${given.join(', ')})` : '', variables };
  }

  private argument(field: string, { name, type }: GraphQLArgument, variables: Set<string>): Value {
    const { choices } = this;
    const place = { field, argument: name };
    if (choices.chance(40)) return this.reference(type, place, variables);
    const value = valueFor(type, place, choices, this.odd ? ODD : VALID);
    // A variable inside of an input object.
    if (value instanceof Entries && choices.chance(30))
      return this.withReference(value, type, place, variables);
    return value;
  }

  private withReference(
    { list }: Entries,
    type: GraphQLInputType,
    { field }: Place,
    variables: Set<string>,
  ): Value {
    const object = getNamedType(type);
    const fields = 'getFields' in object ? Object.values(object.getFields()) : [];
    if (fields.length === 0) return new Entries(list);
    const chosen = this.choices.pick(fields);
    const rest = list.filter(([key]) => key !== chosen.name);
    const place = { field, argument: chosen.name };
    return new Entries([...rest, [chosen.name, this.reference(chosen.type, place, variables)]]);
  }

  /** A variable that fits the type: an existing one, or a new one. */
  private reference(type: GraphQLInputType, place: Place, variables: Set<string>): Value {
    const { choices } = this;
    const known = [...this.variables.values()].filter(
      (each) => each.type === type && each.place.argument === place.argument,
    );
    if (known.length > 0 && choices.chance(50)) {
      const { name } = choices.pick(known);
      variables.add(name);
      return new Reference(name);
    }
    const name = `${choices.chance(8) ? choices.pick(['constructor', 'toString', 'valueOf']) : 'v'}${this.variables.size}`;
    const hasDefault = choices.chance(30);
    const nullable = getNullableType(type);
    const initial = hasDefault ? valueFor(type, place, choices, this.odd ? ODD : VALID) : undefined;
    // A nullable variable with a default fits a non-null type.
    const declared = initial !== undefined && initial !== null && choices.chance(60) ? nullable : type;
    const isStrict = !isNonNullType(declared) && choices.chance(20);
    const typeText = `${String(declared)}${isStrict ? '!' : ''}`;
    const isDefaultFit = initial !== undefined && !(initial === null && typeText.endsWith('!'));
    const declaration = `$${name}: ${typeText}${isDefaultFit ? ` = ${toLiteral(initial)}` : ''}`;
    this.variables.set(name, { name, type, place, hasDefault: isDefaultFit, declaration });
    variables.add(name);
    return new Reference(name);
  }

  private directives(): string {
    const { choices } = this;
    if (!choices.chance(DIRECTIVE_PERCENT)) return '';
    const one = () => `@${choices.pick(['include', 'skip'])}(if: ${this.condition()})`;
    if (!choices.chance(12)) return ` ${one()}`;
    return ` @skip(if: ${this.condition()}) @include(if: ${this.condition()})`;
  }

  private condition(): string {
    const { choices } = this;
    if (choices.chance(35)) return choices.pick(['true', 'false']);
    // A value for a variable of this name makes the server refuse the body.
    const name = this.odd && choices.chance(4) ? '__proto__' : choices.pick(FLAGS).name;
    const { type, initial } = FLAGS.find((each) => each.name === name) ?? FLAGS[2];
    if (!this.variables.has(name)) {
      const boolean = this.schema.getType('Boolean') as GraphQLInputType;
      this.variables.set(name, {
        name,
        type: boolean,
        place: { field: '', argument: 'if' },
        hasDefault: initial !== undefined,
        declaration: `$${name}: ${type}`,
      });
    }
    this.used.add(name);
    return `$${name}`;
  }

  private introspection(): string {
    return this.choices.pick([
      '__schema { queryType { name } }',
      '__type(name: "Bot") { kind name fields { name } }',
      '__type(name: "__proto__") { name }',
      '__type(name: "BotStatus") { enumValues { name } }',
    ]);
  }

  private overlapping(type: GraphQLCompositeType): GraphQLCompositeType[] {
    const others = Object.values(this.schema.getTypeMap())
      .filter(isCompositeType)
      .filter((each) => each !== type && doTypesOverlap(this.schema, each, type));
    // Prefer the type itself: most fragments are on it.
    return [type, type, type, ...others.filter((each) => !each.name.startsWith('__'))];
  }

  private typeNamed(name: string): GraphQLCompositeType {
    const type = this.schema.getType(name);
    if (!isCompositeType(type)) throw new Error(`${name} has no fields`);
    return type;
  }

  /** The text with an error added. */
  private damaged(text: string): string {
    const { choices } = this;
    const at = choices.below(Math.max(1, text.length));
    return choices.pick([
      text.slice(0, at) + text.slice(at + 1),
      `${text.slice(0, at)}${choices.pick(['{', '}', '"', '$', '@', '...', '\u0000', '"""', '!'])}${text.slice(at)}`,
      text.slice(0, at),
      `${text} { me { ...Missing } }`,
      `${text} fragment Cycle on User { ...Cycle }`,
      `${text} subscription S { me { id } }`,
      `${text} type Query { me: Int }`,
    ]);
  }
}

/** Whether a field has an argument for the size of its list. */
const isPaged = ({ args }: GraphQLField<unknown, unknown>): boolean =>
  args.some(({ name }) => /^(limit|first)$/.test(name));
