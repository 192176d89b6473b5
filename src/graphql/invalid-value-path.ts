import {
  BREAK,
  coerceInputValue,
  isInputType,
  Kind,
  typeFromAST,
  visit,
  type ASTNode,
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
  type VariableDefinitionNode,
} from 'graphql';

import { MAX_ERRORS } from './error-limits.js';

type Path = readonly (string | number)[];

/**
 * Finds the arguments and input fields whose values GraphQL itself refused, for the errors of one request. It coerces
 * each variable again at most once, up to the number of errors that the answer can contain.
 */
export class InvalidValuePaths {
  /** Paths inside the value of a variable, in the order of their errors; the errors of these paths come later. */
  private readonly inVariables = new Map<VariableDefinitionNode, { readonly place: Path; paths: Path[] }>();

  constructor(
    private readonly request: {
      readonly document: DocumentNode;
      readonly schema: GraphQLSchema;
      readonly variables: Readonly<Record<string, unknown>> | undefined;
    },
  ) {}

  /**
   * The path of the value that an error is about: `limit`, `name`, `messages.3.text`. It leaves out an object called
   * `input`. Call it for the errors in their order. Undefined if the error is not about a value.
   */
  next(error: GraphQLError): string | undefined {
    const node = error.nodes?.[0];
    if (!node) return undefined;
    const path =
      node.kind === Kind.VARIABLE_DEFINITION
        ? this.nextInVariable(node)
        : placeOf(this.request.document, (each) => each === node);
    if (!path || path.length === 0) return undefined;
    return (path[0] === 'input' && path.length > 1 ? path.slice(1) : path).join('.');
  }

  private nextInVariable(node: VariableDefinitionNode): Path {
    let variable = this.inVariables.get(node);
    if (!variable) {
      const name = node.variable.name.value;
      const isUse = (each: ASTNode, parent: ASTNode | undefined) =>
        each.kind === Kind.VARIABLE && each.name.value === name && parent?.kind !== Kind.VARIABLE_DEFINITION;
      variable = {
        place: placeOf(this.request.document, isUse) ?? [name],
        paths: this.invalidPathsOf(node),
      };
      this.inVariables.set(node, variable);
    }
    return [...variable.place, ...(variable.paths.shift() ?? [])];
  }

  private invalidPathsOf(node: VariableDefinitionNode): Path[] {
    const { schema, variables } = this.request;
    const type = typeFromAST(schema, node.type);
    const paths: Path[] = [];
    if (!isInputType(type)) return paths;
    const enough = new Error('enough');
    try {
      coerceInputValue(variables?.[node.variable.name.value], type, (path, _value, { message }) => {
        const [, missingOrUnknown] =
          /^Field "([^"]+)" (?:of required type|is not defined)/.exec(message) ?? [];
        paths.push(missingOrUnknown === undefined ? [...path] : [...path, missingOrUnknown]);
        if (paths.length >= MAX_ERRORS) throw enough;
      });
    } catch (error) {
      if (error !== enough) throw error;
    }
    return paths;
  }
}

/** The arguments, input fields and list indexes that lead to the first node of a kind. */
function placeOf(
  document: DocumentNode,
  isIt: (node: ASTNode, parent: ASTNode | undefined) => boolean,
): Path | undefined {
  let place: Path | undefined;
  visit(document, {
    enter(node, _key, parent, path, ancestors) {
      if (!isIt(node, parent && 'kind' in parent ? parent : undefined)) return undefined;
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
      return BREAK;
    },
  });
  return place;
}
