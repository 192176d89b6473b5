import {
  getArgumentValues,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  TypeNameMetaFieldDef,
  type FieldNode,
  type GraphQLField,
  type GraphQLFieldResolver,
  type GraphQLLeafType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

import { chargeableList, type ItemSelection } from '../answer-budget.js';
import { mergeSelections, selectionSetsOf, type Fragments, type MergedFields } from '../selection.js';
import {
  completeLeaf,
  completeList,
  completeObject,
  leafText,
  type Complete,
  type Select,
} from './completion.js';
import type { FieldExtensions } from './field-extensions.js';
import { readAheadOf, type ReadAhead } from './read-ahead.js';
import { andThen, collect, NotPlannedError, type Eventually, type PathOf, type PlanRun } from './plan-run.js';

/**
 * The maximum number of fields in the items of one list: a plan completes them in one turn of the event loop, in up to
 * 10 ms. graphql-js executes longer lists in many turns.
 */
const MAX_FIELDS_AT_ONCE = 10_000;

/** The fields of a selection set that are known without calling a resolver, or one that needs a resolver. */
interface Step {
  /** What precedes the texts of the column in JSON. */
  readonly prefix: string;
  readonly column: Select;
}

/** A leaf that is a property of its object. */
interface PropertyLeaf {
  readonly prefix: string;
  readonly name: string;
  readonly type: GraphQLLeafType;
  readonly isNonNull: boolean;
}

/** Makes the closures of one operation's plan. */
export class PlanMaker {
  private fields = 0;

  constructor(
    private readonly fragments: Fragments,
    /** Whether `@skip` and `@include` include a selection in this plan. */
    private readonly isIncluded: (selection: SelectionNode) => boolean,
    private readonly maxFields: number,
  ) {}

  /** The number of fields in the plan so far. */
  get size(): number {
    return this.fields;
  }

  /** @throws NotPlannedError for what plans do not know */
  select(type: GraphQLObjectType, selectionSets: readonly SelectionSetNode[]): Select {
    // An abstract type could have this type among others, which the value decides.
    if (type.isTypeOf || type.getInterfaces().length > 0) throw new NotPlannedError();
    const steps: Step[] = [];
    let leaves: PropertyLeaf[] = [];
    const endLeaves = () => {
      if (leaves.length > 0) steps.push({ prefix: '', column: leavesOf(leaves) });
      leaves = [];
    };
    for (const [name, nodes] of this.merge(selectionSets)) {
      if (++this.fields > this.maxFields || name === '__proto__') throw new NotPlannedError();
      const prefix = `${JSON.stringify(name)}:`;
      const definition = fieldOf(type, nodes);
      const leaf = propertyLeafOf(definition, prefix);
      if (leaf) {
        leaves.push(leaf);
        continue;
      }
      endLeaves();
      steps.push({ prefix, column: this.columnOf(type, definition, name, nodes) });
    }
    endLeaves();
    return selectSteps(steps);
  }

  private columnOf(
    parentType: GraphQLObjectType,
    definition: GraphQLField<unknown, unknown>,
    name: string,
    nodes: readonly FieldNode[],
  ): Select {
    if (definition === TypeNameMetaFieldDef) {
      const text = JSON.stringify(parentType.name);
      return (sources) => sources.map(() => text);
    }
    const selectionSets = selectionSetsOf(nodes);
    const complete = this.completionOf(definition.type, selectionSets);
    const { expect } = definition.extensions as FieldExtensions;
    const readAhead = expect && readAheadOf(definition.type, selectionSets, (sets) => this.merge(sets));
    const list = chargeableList(definition, nodes, this.fragments, this.isIncluded);
    const resolve = list?.resolve ?? definition.resolve;
    const resolved = resolve
      ? resolverOf({ parentType, definition, name, fieldNodes: nodes, resolve, readAhead })
      : (sources: readonly unknown[]) =>
          sources.map((source) => refuseFunction((source as Record<string, unknown>)[definition.name]));
    return (sources, run, pathOf) => {
      const pathOfField: PathOf = (n) => ({ prev: pathOf(n), key: name, typename: parentType.name });
      return andThen(resolved(sources, run, pathOfField), (values) => {
        if (list) charge(values, list.selection, definition.name, run);
        return complete(values, run, pathOfField);
      });
    };
  }

  private merge(selectionSets: readonly SelectionSetNode[]): MergedFields {
    return mergeSelections(selectionSets, this.fragments, this.isIncluded);
  }

  private completionOf(type: GraphQLOutputType, selectionSets: readonly SelectionSetNode[]): Complete {
    const isNonNull = isNonNullType(type);
    const nullable = isNonNullType(type) ? type.ofType : type;
    if (isListType(nullable))
      return completeList(this.completionOf(nullable.ofType, selectionSets), isNonNull);
    if (isLeafType(nullable)) return completeLeaf(nullable, isNonNull);
    if (isObjectType(nullable)) return completeObject(this.select(nullable, selectionSets), isNonNull);
    throw new NotPlannedError();
  }
}

function fieldOf(type: GraphQLObjectType, [node]: readonly FieldNode[]): GraphQLField<unknown, unknown> {
  const name = node?.name.value ?? '';
  if (name === TypeNameMetaFieldDef.name) return TypeNameMetaFieldDef;
  const definition = type.getFields()[name] as GraphQLField<unknown, unknown> | undefined;
  // Introspection.
  if (!definition) throw new NotPlannedError();
  return definition;
}

function propertyLeafOf(
  { name, type, resolve }: GraphQLField<unknown, unknown>,
  prefix: string,
): PropertyLeaf | undefined {
  if (resolve) return undefined;
  const isNonNull = isNonNullType(type);
  const nullable = isNonNullType(type) ? type.ofType : type;
  return isLeafType(nullable) ? { prefix, name, type: nullable, isNonNull } : undefined;
}

const leavesOf =
  (leaves: readonly PropertyLeaf[]): Select =>
  (sources) =>
    sources.map((source) => {
      let text = '';
      for (const { prefix, name, type, isNonNull } of leaves) {
        const value = (source as Record<string, unknown>)[name];
        text += (text === '' ? prefix : `,${prefix}`) + leafText(type, isNonNull, value);
      }
      return text;
    });

const selectSteps =
  (steps: readonly Step[]): Select =>
  (sources, run, pathOf) =>
    andThen(
      collect(steps, ({ column }) => column(sources, run, pathOf)),
      (columns) =>
        sources.map((_, n) => {
          let text = '{';
          for (let i = 0; i < steps.length; i++) {
            if (i > 0) text += ',';
            text += (steps[i]?.prefix ?? '') + (columns[i]?.[n] ?? '');
          }
          return `${text}}`;
        }),
    );

/** A field that has a resolver. */
interface ResolvedField {
  readonly parentType: GraphQLObjectType;
  readonly definition: GraphQLField<unknown, unknown>;
  readonly name: string;
  readonly fieldNodes: readonly FieldNode[];
  readonly resolve: GraphQLFieldResolver<unknown, unknown>;
  readonly readAhead: ReadAhead | undefined;
}

/** Calls a field's resolver for many objects together, or else for each. */
function resolverOf({ parentType, definition, name, fieldNodes, resolve, readAhead }: ResolvedField) {
  const { resolveMany, expect } = definition.extensions as FieldExtensions;
  const [node] = fieldNodes;
  if (!node) throw new NotPlannedError();
  return (sources: readonly unknown[], run: PlanRun, pathOf: PathOf): Eventually<readonly unknown[]> => {
    const { schema, operation, variableValues, contextValue } = run;
    const args = getArgumentValues(definition, node, variableValues);
    if (resolveMany) return resolveMany(sources, args, contextValue);
    const expected = readAhead && expect?.(args, contextValue);
    if (expected !== undefined) readAhead?.([expected], contextValue);
    return collect(sources, (source, n) =>
      resolve(source, args, contextValue, {
        fieldName: definition.name,
        fieldNodes,
        returnType: definition.type,
        parentType,
        path: pathOf(n) ?? { prev: undefined, key: name, typename: parentType.name },
        schema,
        fragments: run.fragments,
        rootValue: undefined,
        operation,
        variableValues,
      }),
    );
  };
}

/** A method of a value would be called with the arguments. */
function refuseFunction(value: unknown): unknown {
  if (typeof value === 'function') throw new NotPlannedError();
  return value;
}

function charge(
  values: readonly unknown[],
  selection: ItemSelection,
  fieldName: string,
  { contextValue }: PlanRun,
): void {
  for (const value of values) {
    if (!Array.isArray(value)) continue;
    if (value.length * selection.fields > MAX_FIELDS_AT_ONCE) throw new NotPlannedError();
    contextValue.answerBudget.charge(value, selection, fieldName);
  }
}
