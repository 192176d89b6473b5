import {
  coerceInputValue,
  isInputType,
  Kind,
  typeFromAST,
  visit,
  type ASTNode,
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
} from 'graphql';

type Path = readonly (string | number)[];

/**
 * The argument or input field whose value GraphQL itself has refused, as a path: `limit`, `name`, `messages.3.text`. An
 * object called `input` is not part of it. Undefined if the error is not about a value.
 */
export function fieldOfMisfit(
  error: GraphQLError,
  request: {
    readonly document: DocumentNode;
    readonly schema: GraphQLSchema;
    readonly variables: Readonly<Record<string, unknown>> | undefined;
  },
): string | undefined {
  const node = error.nodes?.[0];
  if (!node) return undefined;
  let path: Path | undefined;
  if (node.kind === Kind.VARIABLE_DEFINITION) {
    const name = node.variable.name.value;
    const place = placeOf(
      request.document,
      (each, parent) =>
        each.kind === Kind.VARIABLE && each.name.value === name && parent?.kind !== Kind.VARIABLE_DEFINITION,
    );
    const type = typeFromAST(request.schema, node.type);
    const value = request.variables?.[name];
    path = [...(place ?? [name]), ...(isInputType(type) ? misfitInside(value, type) : [])];
  } else {
    path = placeOf(request.document, (each) => each === node);
  }
  if (!path || path.length === 0) return undefined;
  return (path[0] === 'input' && path.length > 1 ? path.slice(1) : path).join('.');
}

/** Where in a variable's value the first misfit is. */
function misfitInside(value: unknown, type: Parameters<typeof coerceInputValue>[1]): Path {
  let found: Path | undefined;
  coerceInputValue(value, type, (path, _value, { message }) => {
    const [, missingOrUnknown] = /^Field "([^"]+)" (?:of required type|is not defined)/.exec(message) ?? [];
    found ??= missingOrUnknown === undefined ? [...path] : [...path, missingOrUnknown];
  });
  return found ?? [];
}

/** The arguments, input fields and list indexes that lead to the first node of a kind. */
function placeOf(
  document: DocumentNode,
  isIt: (node: ASTNode, parent: ASTNode | undefined) => boolean,
): Path | undefined {
  let place: Path | undefined;
  visit(document, {
    enter(node, _key, parent, path, ancestors) {
      if (place || !isIt(node, parent && 'kind' in parent ? parent : undefined)) return;
      const chain = [...ancestors, parent];
      place = chain.flatMap((each, i): Path => {
        if (each === undefined) return [];
        if (!('kind' in each)) {
          const holder = chain[i - 1];
          const isList = holder !== undefined && 'kind' in holder && holder.kind === Kind.LIST;
          return isList ? [path[i] as number] : [];
        }
        return each.kind === Kind.ARGUMENT || each.kind === Kind.OBJECT_FIELD ? [each.name.value] : [];
      });
    },
  });
  return place;
}
