import {
  getNamedType,
  getNullableType,
  GraphQLError,
  isCompositeType,
  isListType,
  isObjectType,
  Kind,
  type ASTVisitor,
  type FieldNode,
  type GraphQLNamedType,
  type SelectionSetNode,
  type ValidationContext,
} from 'graphql';

/** How many items a list without an argument `limit` is reckoned to have. */
const LIST_SIZE = 100;
/** A change costs more than a field that is read, so that one document cannot make hundreds of them. */
const MUTATION_COST = 200;

/**
 * Refuses documents whose answer could have more than `most` fields. A list counts its items: as many as its own or its
 * parent's `limit` says, else {@link LIST_SIZE}; a limit given by a variable counts as {@link LIST_SIZE}, the largest
 * allowed. So the cost of a document does not depend on the request, and is reckoned once for each document.
 */
export const costLimitRule =
  (most: number) =>
  (context: ValidationContext): ASTVisitor => ({
    OperationDefinition(operation) {
      const schema = context.getSchema();
      const root = schema.getRootType(operation.operation);
      if (!root) {
        // graphql-js finds that out only when it executes, as if it were a failure of the server.
        context.reportError(
          new GraphQLError(`There are no operations of the kind ${operation.operation}`, {
            nodes: operation,
          }),
        );
        return;
      }
      const base = operation.operation === 'mutation' ? MUTATION_COST : 1;
      const cost = new CostCounter(context, most).ofSelection(operation.selectionSet, root, undefined, base);
      if (cost > most) {
        context.reportError(
          new GraphQLError(`The document is too expensive: it could answer more than ${most} fields`, {
            nodes: operation,
          }),
        );
      }
    },
  });

class CostCounter {
  private readonly spreads = new Set<string>();
  private visited = 0;

  constructor(
    private readonly context: ValidationContext,
    private readonly most: number,
  ) {}

  ofSelection(
    selectionSet: SelectionSetNode,
    type: GraphQLNamedType,
    parentLimit: number | undefined,
    base = 1,
  ): number {
    let cost = 0;
    for (const selection of selectionSet.selections) {
      if (++this.visited > this.most) return this.most + 1;
      if (selection.kind === Kind.FIELD) {
        cost += this.ofField(selection, type, parentLimit, base);
      } else if (selection.kind === Kind.INLINE_FRAGMENT) {
        cost += this.ofSelection(selection.selectionSet, type, parentLimit, base);
      } else {
        const name = selection.name.value;
        const fragment = this.context.getFragment(name);
        if (!fragment || this.spreads.has(name)) continue;
        this.spreads.add(name);
        cost += this.ofSelection(fragment.selectionSet, type, parentLimit, base);
        this.spreads.delete(name);
      }
      if (cost > this.most) return cost;
    }
    return cost;
  }

  private ofField(
    node: FieldNode,
    parent: GraphQLNamedType,
    parentLimit: number | undefined,
    base: number,
  ): number {
    const field = isObjectType(parent) ? parent.getFields()[node.name.value] : undefined;
    if (!field || !node.selectionSet) return base;
    const type = getNamedType(field.type);
    if (!isCompositeType(type)) return base;
    const limit = limitOf(
      node,
      field.args.some((argument) => argument.name === 'limit'),
    );
    const items = isListType(getNullableType(field.type)) ? (limit ?? parentLimit ?? LIST_SIZE) : 1;
    return base + items * this.ofSelection(node.selectionSet, type, limit);
  }
}

function limitOf(node: FieldNode, hasLimit: boolean): number | undefined {
  if (!hasLimit) return undefined;
  const value = node.arguments?.find((argument) => argument.name.value === 'limit')?.value;
  // A limit out of its range is refused by its field, and must not make the rest look cheap, or dear.
  return value?.kind === Kind.INT ? Math.min(Math.max(Number(value.value), 0), LIST_SIZE) : LIST_SIZE;
}
