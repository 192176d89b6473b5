import {
  getNamedType,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  Kind,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';

import { countIntrospection, META_FIELDS } from './introspection-cost.js';
import { mergeSelections, selectionSetsOf, type Fragments, type MergedFields } from './selection.js';

const MAX_DEPTH = 12;
/** The usual introspection query follows a chain of `ofType`. */
const MAX_INTROSPECTION_DEPTH = 24;
/** The maximum number of fields that an answer could have. */
const MAX_COST = 20_000;
/** The maximum number of pairs of selections to compare for the rule "overlapping fields can be merged". */
const MAX_COMPARISONS = 50_000;

/** The assumed number of items of a list if nothing better is known; also the largest page. */
const LIST_SIZE = 100;
/** A mutation costs more than a read field, so that one document cannot contain hundreds of them. */
const MUTATION_COST = 200;

/** `extensions` of a field in the schema. */
interface CostExtensions {
  /** The usual maximum number of items in the list, for documents that do not give a number. */
  readonly listSize?: number;
  /** What arguments add to the cost of the field if they are given, and are no empty text. */
  readonly argumentCosts?: Readonly<Record<string, number>>;
}

interface Place {
  readonly depth: number;
  /** The number of items that the parent field requests. */
  readonly limit?: number | undefined;
}

/**
 * Checks the possible cost of the operations in one document, as far as the document shows it: the fields of the
 * answer, where a list counts its items (the number that the list or its parent field requests, at most {@link
 * LIST_SIZE}; a number from a variable counts as the largest). The actual items of lists are charged when they are
 * resolved, see `AnswerBudget`. Some arguments cost as much as many fields do.
 */
export class OperationCosts {
  private readonly fragments: Fragments;
  private comparisons = 0;

  /** @param refuse throws an error with the mistake in the document */
  constructor(
    private readonly schema: GraphQLSchema,
    document: DocumentNode,
    private readonly refuse: (rule: string) => never,
  ) {
    const fragments = Object.create(null) as Record<string, FragmentDefinitionNode>;
    for (const definition of document.definitions) {
      if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments[definition.name.value] ??= definition;
    }
    this.fragments = fragments;
  }

  check(operation: OperationDefinitionNode): void {
    const root = this.schema.getRootType(operation.operation);
    if (!root)
      this.refuse(`has an operation of the kind ${operation.operation}, which the schema does not have`);
    const base = operation.operation === 'mutation' ? MUTATION_COST : 1;
    this.costOf([operation.selectionSet], root, { depth: 1 }, base);
  }

  private costOf(
    selectionSets: readonly SelectionSetNode[],
    type: GraphQLNamedType,
    place: Place,
    base = 1,
  ): number {
    if (place.depth > MAX_DEPTH) this.refuseDepth(MAX_DEPTH);
    let cost = 0;
    for (const [, nodes] of this.merge(selectionSets)) {
      const isIntrospection = META_FIELDS.has(nodes[0]?.name.value ?? '');
      cost += isIntrospection ? this.costOfIntrospection(nodes) : this.costOfField(nodes, type, place, base);
      if (cost > MAX_COST) this.refuseCost();
    }
    return cost;
  }

  private merge(selectionSets: readonly SelectionSetNode[]): MergedFields {
    let fragments = 0;
    const merged = mergeSelections(selectionSets, this.fragments, undefined, (selection) => {
      if (selection.kind !== Kind.FIELD) this.compare(++fragments);
    });
    for (const [, nodes] of merged) this.compare((nodes.length * (nodes.length + 1)) / 2);
    return merged;
  }

  private compare(pairs: number): void {
    this.comparisons += pairs;
    if (this.comparisons > MAX_COMPARISONS) this.refuse('repeats too many fields and fragments');
  }

  private refuseDepth(max: number): never {
    this.refuse(`has a depth of more than ${max}`);
  }

  private refuseCost(): never {
    this.refuse(
      `is too expensive: its answer could have more than ${MAX_COST} fields, where a search or a change counts as many`,
    );
  }

  private costOfField(
    nodes: readonly FieldNode[],
    parent: GraphQLNamedType,
    { depth, limit: parentLimit }: Place,
    base: number,
  ): number {
    const [node] = nodes;
    const selectionSets = selectionSetsOf(nodes);
    if (!node || selectionSets.length === 0) return base;
    const field =
      isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[node.name.value] : undefined;
    // Validation refuses a field that does not exist. Its selections count nevertheless.
    if (!field) return base + this.costOf(selectionSets, parent, { depth: depth + 1 });
    const type = getNamedType(field.type);
    if (!isCompositeType(type)) return base;
    const limit = limitOf(node, field);
    const own = base + costOfArguments(node, field);
    const items = isListType(getNullableType(field.type))
      ? (limit ?? parentLimit ?? (field.extensions as CostExtensions).listSize ?? LIST_SIZE)
      : 1;
    return own + items * this.costOf(selectionSets, type, { depth: depth + 1, limit });
  }

  private costOfIntrospection(nodes: readonly FieldNode[]): number {
    const known = new Map<readonly FieldNode[], MergedFields>();
    const merge = (fields: readonly FieldNode[]): MergedFields => {
      let merged = known.get(fields);
      if (!merged) known.set(fields, (merged = this.merge(selectionSetsOf(fields))));
      return merged;
    };
    let cost = 0;
    countIntrospection(this.schema, nodes, merge, (depth) => {
      if (depth > MAX_INTROSPECTION_DEPTH) this.refuseDepth(MAX_INTROSPECTION_DEPTH);
      if (++cost > MAX_COST) this.refuseCost();
    });
    return cost;
  }
}

function costOfArguments(node: FieldNode, field: GraphQLField<unknown, unknown>): number {
  const { argumentCosts } = field.extensions as CostExtensions;
  if (!argumentCosts) return 0;
  let cost = 0;
  for (const { name, value } of node.arguments ?? []) {
    const isEmpty = value.kind === Kind.NULL || (value.kind === Kind.STRING && value.value === '');
    if (!isEmpty) cost += argumentCosts[name.value] ?? 0;
  }
  return cost;
}

/** The arguments that give the size of a page. */
const SIZE_ARGUMENTS: ReadonlySet<string> = new Set(['limit', 'first', 'last']);

/** The number of items that a field requests, if it has an argument for it. */
function limitOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number | undefined {
  const sizes = field.args.filter(({ name }) => SIZE_ARGUMENTS.has(name));
  if (sizes.length === 0) return undefined;
  const asked = sizes.flatMap(({ name, defaultValue }) => {
    const value = node.arguments?.find((argument) => argument.name.value === name)?.value;
    if (!value) return typeof defaultValue === 'number' ? [defaultValue] : [];
    // The field itself refuses a size out of range. Such a size must not change the cost of the other fields.
    return value.kind === Kind.INT ? Math.min(Math.max(Number(value.value), 0), LIST_SIZE) : LIST_SIZE;
  });
  return asked.length === 0 ? LIST_SIZE : Math.max(...asked);
}
