import {
  defaultFieldResolver,
  getNamedType,
  getNullableType,
  isIntrospectionType,
  isLeafType,
  isListType,
  isObjectType,
  type FieldNode,
  type GraphQLField,
  type GraphQLFieldResolver,
  type GraphQLNamedType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  type GraphQLSchema,
  type SelectionNode,
} from 'graphql';

import { badInput } from '../errors.js';
import { includedWith, mergeSelections, selectionSetsOf, type Fragments } from './selection.js';

/** The maximum number of fields in the items of all lists in one answer: they execute in about 100 ms. */
const MAX_FIELDS = 50_000;
/** The approximate size of a value that is not a text, in characters. */
const VALUE_CHARACTERS = 12;
/** How many items of a list are completed in one turn of the event loop. */
const ITEMS_PER_TURN = 100;

/** The part of a request's context that lists need. */
export interface BudgetedContext {
  readonly answerBudget: AnswerBudget;
}

type Resolver = GraphQLFieldResolver<unknown, BudgetedContext>;

/**
 * The remaining size of one answer. A list is charged with its actual items before they are completed, so that no
 * selection can make an answer too large for the event loop and the memory: nested lists and aliases multiply, and
 * texts count by their length.
 */
export class AnswerBudget {
  private fields = 0;
  private characters = 0;

  /** @param maxCharacters the maximum size of the answer, in characters of JSON */
  constructor(private readonly maxCharacters: number) {}

  /** Forgets what was charged, because the operation is executed again. */
  restart(): void {
    this.fields = 0;
    this.characters = 0;
  }

  /** @throws ApiError BAD_USER_INPUT naming the list, if the answer would be larger than allowed */
  charge(items: readonly unknown[], { fields, names, texts }: ItemSelection, fieldName: string): void {
    this.fields += items.length * fields;
    if (this.fields > MAX_FIELDS) {
      throw badInput(
        fieldName,
        `makes the answer too expensive: the items of its lists have more than ${MAX_FIELDS} fields; ask for fewer, or page by page`,
      );
    }
    this.characters += items.length * (names + fields * VALUE_CHARACTERS);
    for (const item of items) {
      for (const { path, times } of texts) {
        let value: unknown = item;
        for (const name of path) value = (value as Record<string, unknown> | null | undefined)?.[name];
        if (typeof value === 'string') this.characters += value.length * times;
      }
    }
    if (this.characters > this.maxCharacters) throw this.tooLarge(fieldName);
  }

  private tooLarge(field: string): Error {
    return badInput(
      field,
      `makes the answer larger than ${Math.floor(this.maxCharacters / 1_048_576)} MB: ask for fewer fields, or page by page`,
    );
  }
}

/** The selection of each item of a list: the number of fields, the length of their names, and the texts among them. */
export interface ItemSelection {
  readonly fields: number;
  readonly names: number;
  /** How often the answer contains each text of the item, or of an object in it. */
  readonly texts: readonly { readonly path: readonly string[]; readonly times: number }[];
}

function selectionOf(
  fieldNodes: readonly FieldNode[],
  returnType: GraphQLOutputType,
  fragments: Fragments,
  isIncluded: (selection: SelectionNode) => boolean,
): ItemSelection {
  const texts = new Map<string, { readonly path: readonly string[]; times: number }>();
  let fields = 0;
  let names = 0;
  const count = (nodes: readonly FieldNode[], type: GraphQLNamedType, above: readonly string[]): void => {
    for (const [name, merged] of mergeSelections(selectionSetsOf(nodes), fragments, isIncluded)) {
      fields++;
      names += name.length + 4;
      const field = isObjectType(type) ? type.getFields()[merged[0]?.name.value ?? ''] : undefined;
      if (!field) continue;
      const path = [...above, field.name];
      const named = getNamedType(field.type);
      if (isLeafType(named)) {
        const key = path.join('.');
        texts.set(key, { path, times: (texts.get(key)?.times ?? 0) + 1 });
      }
      // A list in an item is charged separately, with its actual items.
      if (!isListType(getNullableType(field.type))) count(merged, named, path);
    }
  };
  count(fieldNodes, getNamedType(returnType), []);
  return { fields, names, texts: [...texts.values()] };
}

/** How the fields with lists are resolved without charging. */
const uncharged = new WeakMap<object, GraphQLFieldResolver<unknown, unknown>>();

/**
 * For plans, which know the selection of a list's items before they are executed: how the list is resolved without
 * being charged, and what must be charged. Undefined if the field is no list.
 */
export function chargeableList(
  { resolve, type }: GraphQLField<unknown, unknown>,
  fieldNodes: readonly FieldNode[],
  fragments: Fragments,
  isIncluded: (selection: SelectionNode) => boolean,
):
  | { readonly resolve: GraphQLFieldResolver<unknown, unknown>; readonly selection: ItemSelection }
  | undefined {
  const original = resolve && uncharged.get(resolve);
  return original && { resolve: original, selection: selectionOf(fieldNodes, type, fragments, isIncluded) };
}

/** Makes every list of a schema charge the request's budget. Long lists let other requests run between their items. */
export function chargeLists(schema: GraphQLSchema): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || isIntrospectionType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      if (!isListType(getNullableType(field.type))) continue;
      const resolve: Resolver = field.resolve ?? defaultFieldResolver;
      const finish = (items: unknown, context: BudgetedContext, info: GraphQLResolveInfo): unknown => {
        if (!Array.isArray(items)) return items;
        const { fieldNodes, returnType, fragments, variableValues } = info;
        const selection = selectionOf(fieldNodes, returnType, fragments, includedWith(variableValues));
        context.answerBudget.charge(items, selection, info.fieldName);
        return inTurns(items);
      };
      const charged: Resolver = (source, args, context, info) => {
        const items: unknown = resolve(source, args, context, info);
        return items instanceof Promise
          ? items.then((list: unknown) => finish(list, context, info))
          : finish(items, context, info);
      };
      uncharged.set(charged, resolve as GraphQLFieldResolver<unknown, unknown>);
      field.resolve = charged;
    }
  }
}

/** The items of a long list. Those after the first hundred are promises for later turns of the event loop. */
function inTurns(items: readonly unknown[]): readonly unknown[] {
  if (items.length <= ITEMS_PER_TURN) return items;
  let turn = Promise.resolve();
  return items.map(async (item, i) => {
    if (i > 0 && i % ITEMS_PER_TURN === 0) {
      const before = turn;
      turn = before.then(async () => await new Promise((resolve) => setImmediate(resolve)));
    }
    await turn;
    return item;
  });
}
