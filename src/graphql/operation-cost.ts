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
/** Fields that an answer could have. */
const MAX_COST = 20_000;
/** Pairs of selections that the rule "overlapping fields can be merged" may have to compare in a document. */
const MAX_COMPARISONS = 50_000;

/** Items of a list of which nothing better is known; the largest page as well. */
const LIST_SIZE = 100;
/** A change costs more than a field that is read, so that one document cannot make hundreds of them. */
const MUTATION_COST = 200;

/** `extensions` of a list field in the schema. */
interface ListExtensions {
  /** Items that the list usually has at most, to reckon with where the document does not say. */
  readonly listSize?: number;
}

interface Place {
  readonly depth: number;
  /** How many items the field above asks for. */
  readonly limit?: number | undefined;
}

/**
 * Checks what the operations of one document could cost, as far as the document itself tells: the fields of the answer,
 * where a list counts its items (as many as it, or the field above it, asks for, at most {@link LIST_SIZE}; a number from
 * a variable counts as the largest). What lists really hold is charged when they are resolved, see `AnswerBudget`.
 */
export class OperationCosts {
  private readonly fragments: Fragments;
  private comparisons = 0;

  /** @param refuse throws, with what is wrong with the document */
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
    if (!root) this.refuse(`has an operation of the kind ${operation.operation}, which there is none of`);
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
    this.refuse(`is too expensive: its answer could have more than ${MAX_COST} fields`);
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
    // A field that does not exist is for validation to refuse; what is selected of it counts all the same.
    if (!field) return base + this.costOf(selectionSets, parent, { depth: depth + 1 });
    const type = getNamedType(field.type);
    if (!isCompositeType(type)) return base;
    const limit = limitOf(node, field);
    const items = isListType(getNullableType(field.type))
      ? (limit ?? parentLimit ?? (field.extensions as ListExtensions).listSize ?? LIST_SIZE)
      : 1;
    return base + items * this.costOf(selectionSets, type, { depth: depth + 1, limit });
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

/** The arguments that say how many items a page has. */
const SIZE_ARGUMENTS: ReadonlySet<string> = new Set(['limit', 'first', 'last']);

/** How many items a field asks for, if it takes their number. */
function limitOf(node: FieldNode, field: GraphQLField<unknown, unknown>): number | undefined {
  const sizes = field.args.filter(({ name }) => SIZE_ARGUMENTS.has(name));
  if (sizes.length === 0) return undefined;
  const asked = sizes.flatMap(({ name, defaultValue }) => {
    const value = node.arguments?.find((argument) => argument.name.value === name)?.value;
    if (!value) return typeof defaultValue === 'number' ? [defaultValue] : [];
    // A size out of its range is refused by its field, and must not make the rest look cheap, or dear.
    return value.kind === Kind.INT ? Math.min(Math.max(Number(value.value), 0), LIST_SIZE) : LIST_SIZE;
  });
  return asked.length === 0 ? LIST_SIZE : Math.max(...asked);
}
